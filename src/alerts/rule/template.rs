//! Titles and messages with placeholders: `{value} is beyond {threshold} on {label.component}`.

use super::error::RuleError;
use super::secret;
use super::yaml::Place;
use crate::hint;

const NAMES: &[&str] =
    &["value", "threshold", "level", "worst", "severity", "since", "duration", "rule", "metric"];

/// A text whose placeholders were checked when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(&'static str),
    Label(String),
}

/// What fills the placeholders.
pub(crate) trait Fill {
    /// What stands between placeholders, appended to `out`.
    fn text(&self, text: &str, out: &mut String) {
        out.push_str(text);
    }
    /// The text of a placeholder, appended to `out`.
    fn name(&self, name: &str, out: &mut String);
    /// The value of a label, appended to `out`; nothing where the series lacks it.
    fn label(&self, name: &str, out: &mut String);
}

impl Template {
    /// Reads a text. `labels` are those that the metric can have, `None` where that is not known.
    pub(crate) fn parse(text: &str, place: &Place, labels: Option<&[&str]>) -> Result<Self, RuleError> {
        if let Some((_, what)) = secret::find(text) {
            return Err(place.error(format!(
                "this text holds what looks like {what}: everybody reads it, so put the secret into the environment"
            )));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let tail = &rest[at..];
            if let Some(after) = tail.strip_prefix("{{").or_else(|| tail.strip_prefix("}}")) {
                literal.push_str(&tail[..1]);
                rest = after;
                continue;
            }
            let end = tail.find('}').filter(|_| tail.starts_with('{')).ok_or_else(|| {
                place.error("a brace stands alone: write `{{` or `}}` for the character itself")
            })?;
            let part = placeholder(&tail[1..end], place, labels)?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(part);
            rest = &tail[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { source: text.to_owned(), parts })
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, where it has no placeholder.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with its placeholders filled.
    pub(crate) fn render(&self, fill: &impl Fill) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => fill.text(text, &mut out),
                Part::Name(name) => fill.name(name, &mut out),
                Part::Label(name) => fill.label(name, &mut out),
            }
        }
        out
    }
}

fn placeholder(name: &str, place: &Place, labels: Option<&[&str]>) -> Result<Part, RuleError> {
    if let Some(label) = name.strip_prefix("label.") {
        if let Some(labels) = labels
            && !labels.contains(&label)
        {
            return Err(
                place.error(format!("unknown placeholder `{{{name}}}`{}", unknown_label(label, labels)))
            );
        }
        return Ok(Part::Label(label.to_owned()));
    }
    NAMES.iter().find(|known| **known == name).map(|known| Part::Name(known)).ok_or_else(|| {
        let otherwise = format!("write {} or `label.NAME`", hint::one_of(NAMES).replace(" or ", ", "));
        place.error(format!(
            "unknown placeholder `{{{name}}}`{}",
            hint::did_you_mean(name, NAMES.iter().copied(), &otherwise)
        ))
    })
}

/// What to say about a label that the metric does not have.
pub(crate) fn unknown_label(label: &str, labels: &[&str]) -> String {
    let otherwise = match labels {
        [] => "the metric has no labels".to_owned(),
        labels => format!("the metric has {}", hint::one_of(labels).replace(" or ", " and ")),
    };
    hint::did_you_mean(label, labels.iter().copied(), &otherwise)
}
