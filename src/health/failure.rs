//! Why a component is down, and why a check cannot be made: texts without secrets.

use std::error::Error;
use std::fmt;

use super::redact::Secrets;

/// Why a component is down, in one line for a person.
///
/// Made from any error with `?`, its sources included. User names and passwords in URLs, and values after `password=` and
/// the like, are taken out of it; it has at most 300 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckFailure(String);

impl CheckFailure {
    /// A failure with this text.
    pub fn new(text: impl fmt::Display) -> Self {
        Self::without(&Secrets::default(), text)
    }

    /// A failure whose text holds none of these secrets.
    pub(super) fn without(secrets: &Secrets, text: impl fmt::Display) -> Self {
        Self(secrets.clean(&text.to_string()))
    }

    /// An error and its sources as a failure.
    pub(super) fn caused_by(secrets: &Secrets, error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let next = error.to_string();
            // Many errors repeat their source.
            if !text.contains(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            source = error.source();
        }
        Self::without(secrets, text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckFailure({:?})", self.0)
    }
}

/// For `?` inside a check. (For the same reason a `CheckFailure` is no `Error` itself.)
impl<E: Error + 'static> From<E> for CheckFailure {
    fn from(error: E) -> Self {
        Self::caused_by(&Secrets::default(), &error)
    }
}

/// A check that cannot be made: its target makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    component: Option<String>,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    // Without the text itself, here and below: it may hold a password.
    #[error("the address is no host and port, write for example 127.0.0.1:7497")]
    Address,
    #[error("the URL is not understood{why}, write for example {example}")]
    Url { why: &'static str, example: &'static str },
    #[error("the status {0} does not exist, write one from 100 to 599")]
    Status(u16),
    #[error("the certificates cannot be used ({why}), give a file in PEM with at least one certificate")]
    Certificate { why: String },
    #[cfg_attr(
        all(feature = "postgres", feature = "redis"),
        expect(dead_code, reason = "a build without them")
    )]
    #[error("this program is built without the feature {0:?} of trading-telemetry, enable it in Cargo.toml")]
    Feature(&'static str),
    #[error("the settings say no kind or no target, set `kind` and what it needs")]
    Incomplete,
}

impl CheckError {
    pub(super) fn of(component: &str, error: Self) -> Self {
        Self { component: Some(component.to_owned()), ..error }
    }

    /// Whether an address or a URL is not understood.
    pub fn is_target(&self) -> bool {
        matches!(self.problem, Problem::Address | Problem::Url { .. })
    }

    /// Whether certificates could not be read.
    pub fn is_certificate(&self) -> bool {
        matches!(self.problem, Problem::Certificate { .. })
    }
}

impl From<Problem> for CheckError {
    fn from(problem: Problem) -> Self {
        Self { component: None, problem }
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(component) = &self.component {
            write!(f, "health.checks.{component}: ")?;
        }
        self.problem.fmt(f)
    }
}

impl Error for CheckError {}
