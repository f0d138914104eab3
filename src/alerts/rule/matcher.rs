//! Label matchers in Prometheus' notation: `component=~"broker|feed"`.

use regex_lite::Regex;

use super::error::RuleError;
use super::yaml::Place;

/// One condition on a label; a label that a series lacks is the empty text.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub(crate) label: String,
    pub(crate) operator: Operator,
    pub(crate) value: String,
    regex: Option<Regex>,
}

/// `=`, `!=`, `=~`, `!~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Matches,
    DoesNotMatch,
}

impl Operator {
    const ALL: [(&'static str, Self); 4] =
        [("=~", Self::Matches), ("!~", Self::DoesNotMatch), ("!=", Self::NotEqual), ("=", Self::Equal)];

    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, operator)| *operator == self).map_or("=", |(text, _)| text)
    }
}

impl Matcher {
    /// Reads `label="value"` with any of the four operators; a regular expression is anchored on both sides.
    pub(crate) fn parse(text: &str, place: &Place) -> Result<Self, RuleError> {
        let wrong = || {
            place.error(format!("not a label matcher: `{text}`: write it like `component=~\"broker|feed\"`"))
        };
        let at = text.find(['=', '!']).ok_or_else(wrong)?;
        let (label, rest) = text.split_at(at);
        let label = label.trim();
        let is_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if label.is_empty() || !label.chars().all(is_label) {
            return Err(wrong());
        }
        let (sign, operator) =
            Operator::ALL.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(wrong)?;
        let value = rest[sign.len()..].trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or_else(wrong)?;
        let regex = match operator {
            Operator::Equal | Operator::NotEqual => None,
            Operator::Matches | Operator::DoesNotMatch => {
                // By itself first: the anchors must not close a group that it leaves open.
                let anchored = Regex::new(value).and_then(|_| Regex::new(&format!("^(?s:{value})$")));
                Some(anchored.map_err(|error| {
                    let cause = error.to_string();
                    let cause = cause.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
                    place.error(format!("bad regular expression `{value}`: {cause}"))
                })?)
            }
        };
        Ok(Self { label: label.to_owned(), operator, value: value.to_owned(), regex })
    }

    /// Whether a label's value passes.
    pub(crate) fn matches(&self, value: &str) -> bool {
        match self.operator {
            Operator::Equal => value == self.value,
            Operator::NotEqual => value != self.value,
            Operator::Matches => self.regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            Operator::DoesNotMatch => self.regex.as_ref().is_some_and(|regex| !regex.is_match(value)),
        }
    }
}

/// Whether a sorted label set passes every matcher.
pub(crate) fn all_match(matchers: &[Matcher], labels: &[(String, String)]) -> bool {
    matchers.iter().all(|matcher| {
        let value =
            labels.iter().find(|(name, _)| *name == matcher.label).map_or("", |(_, value)| value.as_str());
        matcher.matches(value)
    })
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.operator, &self.value) == (&other.label, other.operator, &other.value)
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}\"{}\"", self.label, self.operator.as_str(), self.value)
    }
}
