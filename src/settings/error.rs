//! Why settings were refused: where it stands, what is wrong, what to write instead, and never a secret.

use std::fmt;
use std::ops::Range;

use super::node::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    UnknownKey,
    WrongValue,
    MissingSecret,
    UnreadableFile,
    InvalidYaml,
    DuplicateKey,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    kind: Kind,
    text: String,
}

impl Problem {
    /// A problem at `place`. `shown` says whether the text at the place may be shown: not for a secret.
    pub(super) fn new(
        kind: Kind,
        place: Option<&Place>,
        shown: bool,
        message: impl fmt::Display,
        help: &str,
    ) -> Self {
        let mut text = match place {
            Some(Place::File { file, line, column, .. }) => {
                format!("{}:{line}:{column}: {message}", file.path.display())
            }
            Some(Place::Variable(name)) => format!("{name}: {message}"),
            Some(Place::Builder(key)) => format!("`{key}`, set by the builder: {message}"),
            None => message.to_string(),
        };
        if let Some(Place::File { file, line, column, length }) = place
            && let Some(source) = file.text.lines().nth(line.saturating_sub(1))
        {
            text.push_str(&snippet(source, *line, *column, *length, shown));
        }
        if !help.is_empty() {
            text.push_str("\n  ");
            text.push_str(help);
        }
        Self { kind, text }
    }

    pub(super) fn is_unreadable(&self) -> bool {
        self.kind == Kind::UnreadableFile
    }

    /// The first line: place and message.
    pub(super) fn headline(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// The line with a caret under the place. Of the values only the one that is meant is shown: the others may be
/// secrets, ours or of the rest of the system.
fn snippet(source: &str, line: usize, column: usize, length: usize, shown: bool) -> String {
    let start = column.saturating_sub(1);
    let available = source.chars().count().saturating_sub(start);
    let length = length.clamp(1, available.max(1));
    let kept = if shown { start..start + length } else { 0..0 };
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    format!(
        "\n  {number} | {}\n  {gutter} | {}{}",
        masked(source, &kept),
        " ".repeat(start),
        "^".repeat(length)
    )
}

/// `line` with `•` in place of every letter that is neither of a key nor `kept` (in characters).
fn masked(line: &str, kept: &Range<usize>) -> String {
    let letters: Vec<char> = line.chars().collect();
    let mut key = vec![false; letters.len()];
    let mut quote = None;
    let mut word = 0;
    // A colon makes a key of what stands where a key may begin, and of nothing else: not of `secret:`, a slip.
    let mut may_begin = true;
    let mut in_flow = false;
    for (at, &letter) in letters.iter().enumerate() {
        if let Some(open) = quote {
            quote = quote.filter(|_| open != letter);
            continue;
        }
        let ends = letters.get(at + 1).is_none_or(|next| *next == ' ');
        match letter {
            '"' | '\'' if at == word => quote = Some(letter),
            ' ' | '-' if letters[word..at].iter().all(|letter| *letter == ' ') => word = at + 1,
            '{' => (word, may_begin, in_flow) = (at + 1, true, true),
            ',' => (word, may_begin) = (at + 1, in_flow),
            ':' if ends && may_begin => {
                key[word..at].fill(true);
                (word, may_begin) = (at + 1, false);
            }
            '#' => break,
            _ => {}
        }
    }
    let shown = |at: usize, letter: char| {
        key[at] || kept.contains(&at) || letter.is_whitespace() || "{}[],:\"'#-|>".contains(letter)
    };
    letters.iter().enumerate().map(|(at, &letter)| if shown(at, letter) { letter } else { '•' }).collect()
}

/// The settings were refused. Displays every problem that was found: the place (file, line and caret, or the
/// variable), what is wrong, and what to write instead. Secrets are never shown.
#[derive(Clone, Debug)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    /// `Err` if there are problems.
    pub(super) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    fn has(&self, kind: Kind) -> bool {
        self.problems.iter().any(|problem| problem.kind == kind)
    }

    /// A key inside one of our sections that does not exist.
    pub fn is_unknown_key(&self) -> bool {
        self.has(Kind::UnknownKey)
    }

    /// A value of the wrong type, out of range, or that does not go with another.
    pub fn is_wrong_value(&self) -> bool {
        self.has(Kind::WrongValue)
    }

    /// A channel that is listed without the secret that it needs.
    pub fn is_missing_secret(&self) -> bool {
        self.has(Kind::MissingSecret)
    }

    /// The settings file, or a file that holds a secret, cannot be read.
    pub fn is_unreadable_file(&self) -> bool {
        self.has(Kind::UnreadableFile)
    }

    /// The settings file is not YAML.
    pub fn is_invalid_yaml(&self) -> bool {
        self.has(Kind::InvalidYaml)
    }

    /// A key that stands twice in one mapping.
    pub fn is_duplicate_key(&self) -> bool {
        self.has(Kind::DuplicateKey)
    }

    /// Each problem by itself, as it is displayed.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(|problem| problem.text.as_str())
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_and_the_meant_value_stay_and_everything_else_is_masked() {
        let line = r#"  redis: {kind: redis, url: "redis://:pw@h", critical: yes}"#;
        let at = line.find("yes").unwrap();
        assert_eq!(
            masked(line, &(at..at + 3)),
            r#"  redis: {kind: •••••, url: "•••••:••:••••", critical: yes}"#
        );
        assert_eq!(masked("bearer_token:hunter2", &(0..0)), "••••••••••••:•••••••");
        assert_eq!(masked("  - hunter2 # x: hunter3", &(0..0)), "  - ••••••• # •: •••••••");
        assert_eq!(masked("  - kind: hunter2:", &(0..0)), "  - kind: •••••••:");
        assert_eq!(masked("pw: a, hunter2: b", &(0..0)), "pw: •, •••••••: •");
        assert_eq!(masked(r#"a: "x kind: hunter2""#, &(0..0)), r#"a: "• ••••: •••••••""#);
    }

    proptest! {
        #[test]
        fn a_masked_line_keeps_its_length_and_no_secret(key in "[a-z_]{1,20}", secret in "[A-Z0-9/+=]{4,40}") {
            for line in [format!("{key}: {secret}"), format!("{key}: '{secret}'"), format!("- {secret}"), secret.clone()] {
                let shown = masked(&line, &(0..0));
                prop_assert!(!shown.contains(&secret));
                prop_assert_eq!(shown.chars().count(), line.chars().count());
            }
        }
    }
}
