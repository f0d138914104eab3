//! What is wrong with a file of rules or silences, and what to write instead.

use std::fmt;

use super::secret;
use super::yaml::Place;

/// One mistake in a file of rules or silences.
///
/// Displays as file, line and column, what to write instead, and the line with a caret:
///
/// ```text
/// config/alerts.yaml:4:5: unknown key `critcal`: did you mean `critical`?
///   |
/// 4 |     critcal: 8
///   |     ^^^^^^^
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RuleError {
    file: String,
    line: usize,
    column: usize,
    width: usize,
    /// The line, or the part of a long one around the mistake.
    text: Option<Excerpt>,
    message: String,
}

/// The part of a line that is shown.
#[derive(Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// Where the mistake stands in it, in characters.
    at: usize,
}

impl Excerpt {
    fn of(line: &str, column: usize) -> Self {
        const BEFORE: usize = 60;
        const LONGEST: usize = 160;
        let length = line.chars().count();
        let at = column.saturating_sub(1).min(length);
        if length <= LONGEST {
            return Self { text: line.to_owned(), at };
        }
        let skipped = at.saturating_sub(BEFORE);
        let shown: String = line.chars().skip(skipped).take(LONGEST).collect();
        let before = if skipped > 0 { "…" } else { "" };
        let after = if skipped + LONGEST < length { "…" } else { "" };
        Self { text: format!("{before}{shown}{after}"), at: at - skipped + before.chars().count() }
    }
}

impl RuleError {
    pub(crate) fn at(place: &Place, message: &str) -> Self {
        let line = place.line.checked_sub(1).and_then(|index| place.source.text.lines().nth(index));
        Self {
            file: place.source.name.clone(),
            line: place.line,
            column: place.column,
            width: place.width,
            text: line.map(|line| Excerpt::of(&secret::mask(line), place.column)),
            message: secret::mask(message),
        }
    }

    /// The file, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1; 0 where the mistake has no place of its own.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Excerpt { text, at: before }) = &self.text else {
            return write!(f, "{}: {}", self.file, self.message);
        };
        let number = self.line.to_string();
        let margin = number.len();
        let width = self.width.min(text.chars().count() - before).max(1);
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{number} | {text}")?;
        write!(f, "{:margin$} | {:before$}{}", "", "", "^".repeat(width))
    }
}

impl fmt::Debug for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for RuleError {}

/// Every mistake that was found, in the order of the files.
#[derive(Clone, PartialEq, Eq)]
pub struct RuleErrors(pub(crate) Vec<RuleError>);

impl RuleErrors {
    /// The mistakes; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &RuleError> {
        self.0.iter()
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for RuleErrors {}
