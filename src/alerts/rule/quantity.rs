//! Durations and levels as people write them: `1h 30m`, `5 %`, `$ 100`.

use std::time::Duration;

use super::error::RuleError;
use super::yaml::{Node, Value};
use crate::hint;

const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// A duration such as `500ms`, `60s`, `1h 30m`.
pub(crate) fn duration(node: &Node, what: &str) -> Result<Duration, RuleError> {
    let text = match &node.value {
        Value::Text(text) => text.as_str(),
        Value::Number(0.0) => return Ok(Duration::ZERO),
        Value::Number(number) => {
            return Err(node.place.error(format!("{what} has no unit: write `{number}s` or `{number}m`")));
        }
        _ => {
            return Err(node
                .place
                .error(format!("{what} is a duration such as `60s`, found {}", node.describe())));
        }
    };
    parse_duration(text).ok_or_else(|| {
        node.place.error(format!(
            "{what} is not a duration, found `{text}`: write `500ms`, `60s`, `5m` or `1h 30m`"
        ))
    })
}

/// Parses `500ms`, `60s`, `1h 30m`; `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let number: u64 = rest[..digits].parse().ok()?;
        let tail = rest[digits..].trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (_, millis) = UNITS.iter().find(|(unit, _)| *unit == &tail[..letters])?;
        total = total.checked_add(Duration::from_millis(number.checked_mul(*millis)?))?;
        rest = tail[letters..].trim_start();
    }
    Some(total)
}

/// A number, with the metric's unit or without one.
pub(crate) fn number(node: &Node, what: &str, unit: &str) -> Result<f64, RuleError> {
    let (number, given) = match &node.value {
        Value::Number(number) => (*number, ""),
        Value::Text(text) => split(text).ok_or_else(|| {
            node.place.error(format!("{what} is a number such as `5` or `5 %`, found `{text}`"))
        })?,
        _ => return Err(node.place.error(format!("{what} is a number, found {}", node.describe()))),
    };
    if !number.is_finite() {
        return Err(node.place.error(format!("{what} is not finite: write a number such as `5`")));
    }
    if !given.is_empty() && given != unit {
        let right = if unit.is_empty() { "has no unit".to_owned() } else { format!("is in `{unit}`") };
        return Err(node
            .place
            .error(format!("wrong unit `{given}`: the metric {right}, write `{}`", with(number, unit))));
    }
    Ok(number)
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('$') {
        return Some((rest.trim().parse().ok()?, "$"));
    }
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.eE_".contains(c))).unwrap_or(text.len());
    // `1e` of `1 eur` is not an exponent, so that the unit may begin with an e.
    let (number, unit) = text.split_at(end);
    Some((number.trim().parse().ok()?, unit.trim()))
}

/// The unit that a metric's name tells, as people write it; empty where it tells none.
pub(crate) fn unit_of(metric: &str) -> &'static str {
    let name = metric.strip_suffix("_total").unwrap_or(metric);
    match name.rsplit('_').next() {
        Some("pct" | "percent") => "%",
        Some("dollars") => "$",
        Some("ms" | "milliseconds") => "ms",
        Some("bps") => "bps",
        Some("seconds") => "s",
        Some("bytes") => "B",
        _ => "",
    }
}

/// A number for people: no noise of floating point after six decimals.
pub(crate) fn show(number: f64) -> String {
    let rounded = (number * 1e6).round() / 1e6;
    if rounded.is_finite() && rounded != 0.0 { rounded.to_string() } else { (number + 0.0).to_string() }
}

/// A number with its unit: `8.4 %`, `$100`, `-$100`.
pub(crate) fn with(number: f64, unit: &str) -> String {
    match unit {
        "" => show(number),
        "$" if number < 0.0 => format!("-${}", show(-number)),
        "$" => format!("${}", show(number)),
        _ => format!("{} {unit}", show(number)),
    }
}

/// The word among `words` that the node is.
pub(crate) fn word<'a>(node: Node, what: &str, words: &[&'a str]) -> Result<&'a str, RuleError> {
    let (text, place) = node.text(what)?;
    words.iter().find(|word| **word == text).copied().ok_or_else(|| {
        let hint =
            hint::did_you_mean(&text, words.iter().copied(), &format!("write {}", hint::one_of(words)));
        place.error(format!("{what} cannot be `{text}`{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_written() {
        assert_eq!(parse_duration("1h 30m"), Some(Duration::from_mins(90)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 s"), Some(Duration::from_secs(2)));
        for wrong in
            ["", "5", "m", "5 minutes", "-5s", "1.5h", "99999999999999999999s", "184467440737095517w"]
        {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_shown_without_floating_point_noise() {
        assert_eq!(show(0.1 + 0.2), "0.3");
        assert_eq!(show(-0.0), "0");
        assert_eq!(show(1e-9), "0.000000001");
        assert_eq!(with(-1234.5, "$"), "-$1234.5");
        assert_eq!(with(8.4, "%"), "8.4 %");
        assert_eq!(with(3.0, ""), "3");
    }

    #[test]
    fn units_follow_the_names_of_the_catalogue() {
        assert_eq!(unit_of("trading_portfolio_drawdown_pct"), "%");
        assert_eq!(unit_of("trading_trade_loss_dollars_total"), "$");
        assert_eq!(unit_of("trading_fill_latency_ms"), "ms");
        assert_eq!(unit_of("trading_kill_switch_active"), "");
    }
}
