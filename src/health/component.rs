//! What is known of a component.

use std::time::Duration;

use jiff::Timestamp;

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The last check succeeded, and it is not reported down.
    Up,
    /// The last check failed, or it is reported down.
    Down,
    /// It was up, but has not been checked for three intervals.
    Stale,
    /// Not checked or reported yet.
    Unknown,
}

impl Status {
    /// The word in the report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of a component at a moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no states of one machine")]
pub struct ComponentHealth {
    /// Its name, the label of its series.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// Whether the system is not ready without it.
    pub critical: bool,
    /// Whether its loss is expected now: a feed outside `health.hours`, anything in its `health.maintenance`.
    pub may_be_away: bool,
    /// Whether its loss would page now: it is critical, the broker or the feed, and may not be away.
    pub pages: bool,
    /// Whether the service reported its state itself; else a check found it.
    pub reported: bool,
    /// Time since it was last checked or reported.
    pub age: Option<Duration>,
    /// When it was last checked or reported, on the telemetry's monotonic clock.
    pub recorded: Option<Duration>,
    /// How often it is checked, or how long a check may take where that is longer; `None` if it only reports.
    pub interval: Option<Duration>,
    /// How long the last check took.
    pub check_duration: Option<Duration>,
    /// When a check last succeeded or it last reported that it is up.
    pub last_success: Option<Timestamp>,
    /// Why it was last down, also after it came back.
    pub last_error: Option<String>,
    /// Time since then.
    pub last_error_age: Option<Duration>,
}

impl ComponentHealth {
    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.status == Status::Up
    }

    /// Whether the system can work as far as it depends on this.
    pub fn is_ready(&self) -> bool {
        !self.critical || self.is_up() || self.may_be_away
    }
}
