//! What one text may mean: numbers, durations, addresses, times, secrets, and words of a closed set.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use secrecy::SecretString;

use super::leaf::Scalar;
use crate::hint;

/// A text in YAML: plain where nothing could mistake it.
pub(super) fn quoted(text: &str) -> String {
    let mistakable = matches!(text.to_lowercase().as_str(), "" | "true" | "false" | "null" | "yes" | "no");
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./".contains(letter));
    if plain && !mistakable {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// The choice that `text` names.
pub(super) fn choose<T: Copy>(text: &str, all: &[T], word: impl Fn(T) -> &'static str) -> Result<T, String> {
    if let Some(found) = all.iter().find(|choice| word(**choice) == text) {
        return Ok(*found);
    }
    let words: Vec<String> = all.iter().map(|choice| format!("`{}`", word(*choice))).collect();
    let near = hint::nearest(text, all.iter().map(|choice| word(*choice)));
    let near = near.map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
    Err(format!("{}{}{near}", if words.len() == 1 { "" } else { "one of " }, words.join(", ")))
}

/// A value within its range, whose bounds stand in the message.
fn ranged<T: Display + Copy>(
    value: Option<T>,
    number: impl Fn(T) -> f64,
    what: &str,
    range: Option<(f64, f64)>,
) -> Result<T, String> {
    value.filter(|value| range.is_none_or(|(low, high)| (low..=high).contains(&number(*value)))).ok_or_else(
        || range.map_or_else(|| what.to_owned(), |(low, high)| format!("{what} from {low} to {high}")),
    )
}

macro_rules! whole_numbers {
    ($($type:ty),*) => { $(
        impl Scalar for $type {
            const QUOTABLE: bool = false;

            fn parse(text: &str, range: Option<(f64, f64)>) -> Result<Self, String> {
                let value = text.trim().replace('_', "").parse::<Self>().ok();
                #[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "the ranges end far below 2^53")]
                ranged(value, |value| value as f64, "a whole number", range)
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )* };
}
whole_numbers!(u16, u32, u64, usize);

impl Scalar for f64 {
    const QUOTABLE: bool = false;

    fn parse(text: &str, range: Option<(f64, f64)>) -> Result<Self, String> {
        let value = text.trim().parse::<Self>().ok().filter(|value| value.is_finite());
        ranged(value, |value| value, "a number", range)
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// In seconds. Zero never is a duration here: what can be switched off is an `Option`.
impl Scalar for Duration {
    const QUOTABLE: bool = false;

    fn parse(text: &str, range: Option<(f64, f64)>) -> Result<Self, String> {
        let range = range.or(Some((0.001, 315_360_000.0)));
        let seconds = text.trim().parse::<f64>().ok();
        let seconds = ranged(seconds, |seconds| seconds, "a number of seconds", range)?;
        Self::try_from_secs_f64(seconds).map_err(|_| "a number of seconds".to_owned())
    }

    fn show(&self) -> String {
        self.as_secs_f64().to_string()
    }
}

impl Scalar for bool {
    const QUOTABLE: bool = false;

    fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("`true` or `false`".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A text without NUL that is not blank.
fn text(text: &str, what: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains('\0') { Err(what.to_owned()) } else { Ok(text.to_owned()) }
}

impl Scalar for String {
    fn parse(given: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        text(given, "a text")
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Scalar for PathBuf {
    fn parse(given: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        text(given, "a path").map(Self::from)
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Scalar for SecretString {
    const SECRET: bool = true;

    fn parse(given: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        let what = "a secret of one line that is not empty";
        // One of several lines could be in no header, and so would never be the right one.
        if given.contains(['\n', '\r']) { Err(what.to_owned()) } else { text(given, what).map(Self::from) }
    }

    fn show(&self) -> String {
        "\"[REDACTED]\"".to_owned()
    }
}

/// A type of another crate that reads and displays itself.
macro_rules! foreign {
    ($($type:ty, $what:literal;)*) => { $(
        impl Scalar for $type {
            fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
                Self::from_str(text.trim()).map_err(|_| $what.to_owned())
            }

            fn show(&self) -> String {
                quoted(&self.to_string())
            }
        }
    )* };
}
foreign! {
    IpAddr, "an IP address such as 127.0.0.1, or 0.0.0.0 for all";
    Date, "a date such as 2025-12-25";
}

/// Hours and minutes, as exchanges write them.
impl Scalar for Time {
    fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        let expected = || "a time of day such as 09:30".to_owned();
        let (hour, minute) = text.trim().split_once(':').ok_or_else(expected)?;
        let number = |text: &str| text.parse::<i8>().map_err(|_| expected());
        Self::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| expected())
    }

    fn show(&self) -> String {
        format!("\"{:02}:{:02}\"", self.hour(), self.minute())
    }
}

impl Scalar for TimeZone {
    fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        Self::get(text.trim()).map_err(|_| {
            "a time zone of this machine's database (package tzdata) such as America/New_York".to_owned()
        })
    }

    fn show(&self) -> String {
        quoted(self.iana_name().unwrap_or("UTC"))
    }
}

const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Monday, "mon"),
    (Weekday::Tuesday, "tue"),
    (Weekday::Wednesday, "wed"),
    (Weekday::Thursday, "thu"),
    (Weekday::Friday, "fri"),
    (Weekday::Saturday, "sat"),
    (Weekday::Sunday, "sun"),
];

impl Scalar for Weekday {
    fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        choose(text.trim(), &WEEKDAYS, |(_, word)| word).map(|(day, _)| day)
    }

    fn show(&self) -> String {
        WEEKDAYS.iter().find(|(day, _)| day == self).map_or_else(String::new, |(_, word)| (*word).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_shown_text_is_read_back_by_yaml(given in "[ -~äöü•\n]{1,30}") {
            let read: String = serde_saphyr::from_str(&quoted(&given)).unwrap();
            prop_assert_eq!(read, given);
        }

        #[test]
        fn no_text_panics_a_parser(given in any::<String>()) {
            let range = Some((1.0, 65535.0));
            let _ = (u16::parse(&given, range), u64::parse(&given, None), f64::parse(&given, None));
            let _ = (Duration::parse(&given, None), Time::parse(&given, None), Date::parse(&given, None));
            let _ = (bool::parse(&given, None), Weekday::parse(&given, None), IpAddr::parse(&given, None));
        }
    }
}
