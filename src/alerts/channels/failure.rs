//! Why a message did not get through, in words that are safe to show: they hold neither URL nor token nor anything
//! that a stranger's server wrote.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use super::Outcome;

/// What went wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(Cow<'static, str>);

impl Failure {
    /// A failure in words without secrets, lower case.
    pub fn new(words: impl Into<Cow<'static, str>>) -> Self {
        Self(words.into())
    }

    /// A failure by its HTTP status.
    pub(super) fn status(status: u16, words: &'static str) -> Self {
        Self(
            if words.is_empty() { format!("status {status}") } else { format!("status {status}, {words}") }
                .into(),
        )
    }

    /// A request that got no answer. The client's own error names the URL, and so do some of its sources: only the kind
    /// of failure is taken from it, and the words of the operating system.
    pub(super) fn transport(error: &reqwest::Error) -> Self {
        let what = if error.is_timeout() {
            "timed out"
        } else if error.is_dns() {
            "the name could not be resolved"
        } else if error.is_connect() {
            "could not connect"
        } else {
            "the connection failed"
        };
        let mut source = error.source();
        let mut system = None;
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
                system = Some(cause.kind());
            }
            source = cause.source();
        }
        Self(match system {
            // What rustls reports when it does not trust the certificate, or when the other side speaks no TLS.
            Some(std::io::ErrorKind::InvalidData) => {
                format!("{what}: the certificate or TLS itself was refused").into()
            }
            Some(kind) => format!("{what}: {kind}").into(),
            None => Cow::Borrowed(what),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a channel cannot be set up, or why a test message did not get through.
#[derive(Debug)]
pub struct ChannelError {
    channel: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unknown,
    Settings(&'static str),
    Paused(std::time::Duration),
    Refused(Failure),
    Unreachable(Failure),
    Silent(std::time::Duration),
    Closed,
}

impl ChannelError {
    pub(in crate::alerts) fn unknown(channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Unknown }
    }

    pub(super) fn settings(channel: &str, what: &'static str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Settings(what) }
    }

    pub(in crate::alerts) fn paused(channel: &str, wait: std::time::Duration) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Paused(wait) }
    }

    pub(in crate::alerts) fn silent(channel: &str, limit: std::time::Duration) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Silent(limit) }
    }

    pub(in crate::alerts) fn closed(channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Closed }
    }

    /// The error in an outcome that is none of success.
    pub(in crate::alerts) fn of(channel: &str, outcome: Outcome) -> Option<Self> {
        let kind = match outcome {
            Outcome::Accepted => return None,
            Outcome::SlowDown(wait) => Kind::Paused(wait.unwrap_or_default()),
            Outcome::TryAgain(failure) | Outcome::Unclear(failure) => Kind::Unreachable(failure),
            Outcome::Moved => Kind::Unreachable(Failure::new("the chat has moved")),
            Outcome::Reformat(failure) | Outcome::Dead(failure) => Kind::Refused(failure),
        };
        Some(Self { channel: channel.to_owned(), kind })
    }

    /// No channel of that name is configured.
    pub fn is_unknown_channel(&self) -> bool {
        matches!(self.kind, Kind::Unknown)
    }

    /// The channel's settings cannot work.
    pub fn is_settings(&self) -> bool {
        matches!(self.kind, Kind::Settings(_))
    }

    /// The service asked for a pause that is not over.
    pub fn is_paused(&self) -> bool {
        matches!(self.kind, Kind::Paused(_))
    }

    /// The service refused: a secret, a recipient or the message is wrong.
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused(_))
    }

    /// The service could not be reached, or not in time.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.kind, Kind::Unreachable(_) | Kind::Silent(_))
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, kind } = self;
        match kind {
            Kind::Unknown => write!(f, "there is no channel `{channel}`: name one of `alerts.channels`"),
            Kind::Settings(what) => write!(f, "channel {channel} cannot be set up: {what}"),
            Kind::Paused(wait) => {
                write!(f, "channel {channel} asked for a pause: try again in {} s", wait.as_secs().max(1))
            }
            Kind::Refused(why) => {
                write!(f, "channel {channel} refused the message ({why}): check its settings")
            }
            Kind::Unreachable(why) => {
                write!(f, "channel {channel} cannot be reached ({why}): check the network")
            }
            Kind::Silent(limit) => {
                let seconds = limit.as_secs();
                write!(
                    f,
                    "channel {channel} did not answer in {seconds} s: check its service and the network"
                )
            }
            Kind::Closed => write!(f, "channel {channel} is shutting down: start the telemetry again"),
        }
    }
}

impl Error for ChannelError {}
