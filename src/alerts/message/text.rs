//! Text from outside, made harmless, escaped and cut to measure.

use crate::alerts::event::MetadataValue;

/// Stands where something was cut.
pub(super) const CUT: &str = "…[cut]";

/// How a channel reads text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Slack's mrkdwn: `&` and `<` are escaped, `>` where it would begin a quotation, and fences of code.
    Slack,
    /// Plain text.
    Telegram,
}

impl Dialect {
    /// `raw`, cleaned and escaped, in at most `limit` UTF-16 units; what does not fit is cut and marked.
    ///
    /// Slack counts characters, of which there are never more than units.
    pub(super) fn escape(self, raw: &str, limit: usize) -> String {
        let clean = match self {
            // In Slack a fence goes on over the parts that follow; these only look like one.
            Self::Slack => clean(raw).replace("```", "\u{2cb}\u{2cb}\u{2cb}"),
            Self::Telegram => clean(raw),
        };
        let (mut out, mut units, mut fits) = (String::with_capacity(clean.len()), 0, 0);
        let mut rest = clean.as_str();
        let mut line_start = true;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            let before = out.len();
            match (self, c) {
                (Self::Slack, '&') => out.push_str("&amp;"),
                (Self::Slack, '<') => out.push_str("&lt;"),
                (Self::Slack, '>') if line_start => out.push_str("&gt;"),
                (Self::Slack, '@') if begins_mention(rest) => out.push_str("@\u{2060}"),
                _ => out.push(c),
            }
            // A quotation may be indented, and `>>>` begins one too.
            line_start = c == '\n' || (line_start && (c == '>' || c.is_whitespace()));
            units += units_of(&out[before..]);
            if units > limit {
                out.truncate(fits);
                out.push_str(CUT);
                return out;
            }
            if units + units_of(CUT) <= limit {
                fits = out.len();
            }
        }
        out
    }

    /// Like [`Self::escape`], on one line.
    pub(super) fn escape_line(self, raw: &str, limit: usize) -> String {
        let line = raw.replace(['\n', '\r', '\t', '\u{2028}', '\u{2029}'], " ");
        // A quotation can't begin inside a line, and the caller puts something before it.
        let escaped = self.escape(&format!("x{}", line.trim()), limit.saturating_add(1));
        escaped.strip_prefix('x').map(str::to_owned).unwrap_or_default()
    }
}

/// Length as Telegram counts it.
pub(super) fn units_of(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Words that Slack may turn into a call to everybody, escaped or not.
fn begins_mention(rest: &str) -> bool {
    ["channel", "here", "everyone", "group"]
        .iter()
        .any(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
}

/// Takes out what no person can see and a channel or a terminal may act on: control characters become U+FFFD, and
/// embeddings and overrides of the writing direction vanish, because they could show a text in another order than it has.
fn clean(raw: &str) -> String {
    let raw = raw.replace("\r\n", "\n");
    raw.chars()
        .filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .map(|c| match c {
            '\n' | '\t' => c,
            '\r' | '\u{2028}' | '\u{2029}' => '\n',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// JSON, and so what is stored, knows neither NaN nor infinity; in a message they are words anyway.
pub(crate) fn in_words_unless_finite(metadata: &mut [(String, MetadataValue)]) {
    for (_, value) in metadata {
        if let MetadataValue::Float(number) = value
            && !number.is_finite()
        {
            *value = MetadataValue::Text(python_float(*number));
        }
    }
}

/// A float as Python's `repr` prints it: `38.5`, `100.0`, `1e-05`, `nan`.
pub fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    let text = format!("{value:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// A measured value for people: at most four decimals, no trailing zeros.
pub(super) fn figure(value: f64, unit: &str) -> String {
    let number = if value == 0.0 || (0.001..1e15).contains(&value.abs()) {
        let fixed = format!("{value:.4}");
        let short = fixed.trim_end_matches('0').trim_end_matches('.');
        if short == "-0" { "0".into() } else { short.to_owned() }
    } else {
        python_float(value)
    };
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

/// `vix_level` as `VIX Level`.
pub(super) fn key_in_words(key: &str) -> String {
    const ACRONYMS: [&str; 6] = ["vix", "pdt", "psi", "pnl", "id", "ibkr"];
    let word = |word: &str| {
        if ACRONYMS.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            return word.to_uppercase();
        }
        let mut letters = word.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters.flat_map(char::to_lowercase)).collect()
    };
    key.replace('_', " ").split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_python_prints_them() {
        let cases = [
            (38.5, "38.5"),
            (150.0, "150.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.0, "-0.0"),
            (1e100, "1e+100"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(8.400_000_000_000_002, "%"), "8.4 %");
        assert_eq!(figure(3.0, ""), "3");
        assert_eq!(figure(-0.000_01, ""), "-1e-05");
        assert_eq!(figure(100.0, "ms"), "100 ms");
    }

    #[test]
    fn keys_become_words() {
        assert_eq!(key_in_words("vix"), "VIX");
        assert_eq!(key_in_words("order_id"), "Order ID");
        assert_eq!(key_in_words("daily_pnl_pct"), "Daily PNL Pct");
        assert_eq!(key_in_words("timestamp"), "Timestamp");
    }

    #[test]
    fn slack_text_cannot_call_anybody() {
        let escape = |text| Dialect::Slack.escape(text, 3000);
        assert_eq!(escape("<!channel> S&P > 35"), "&lt;!channel> S&amp;P > 35");
        assert_eq!(escape("> quoted\n >>> again"), "&gt; quoted\n &gt;&gt;&gt; again");
        assert_eq!(escape("@Channel me@herent.com"), "@\u{2060}Channel me@\u{2060}herent.com");
    }

    #[test]
    fn slack_text_opens_no_fence_around_what_follows() {
        let fence = "\u{2cb}\u{2cb}\u{2cb}";
        assert_eq!(Dialect::Slack.escape("`a` ```b ``", 3000), format!("`a` {fence}b ``"));
        assert_eq!(Dialect::Slack.escape("`````", 3000), format!("{fence}``"));
        assert_eq!(Dialect::Telegram.escape("```b", 3000), "```b");
    }

    #[test]
    fn a_cut_never_splits_an_escape_or_a_pair() {
        for limit in 6..40 {
            let cut = Dialect::Slack.escape(&"&😀<".repeat(40), limit);
            assert!(units_of(&cut) <= limit, "{cut}");
            let whole = cut.strip_suffix(CUT).unwrap();
            assert_eq!(whole.replace("&amp;", "").replace("&lt;", "").replace('😀', ""), "");
        }
    }

    #[test]
    fn what_fits_is_not_cut() {
        assert_eq!(Dialect::Telegram.escape("12345678", 8), "12345678");
        assert_eq!(Dialect::Telegram.escape("123456789", 8), "12…[cut]");
    }
}
