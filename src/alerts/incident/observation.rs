//! What a step is given: a reading, its circumstances, and the moment.

use std::time::Duration;

use jiff::Timestamp;

/// What was read of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// This process has not recorded it: a start-up 0 is not a sample.
    Never,
    /// A value. NaN and infinities count as [`Reading::Invalid`].
    Value {
        /// The last one.
        last: f64,
        /// The worst one since the series was read before; the last one where nothing keeps it.
        worst: f64,
        /// When it was recorded, monotonic.
        at: Duration,
    },
    /// The last recording was refused: NaN or infinite.
    Invalid,
    /// The series was there and is there no more, or has nothing to tell (a quantile of no observations).
    Absent,
}

/// A reading and its circumstances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// What was read.
    pub reading: Reading,
    /// Its owner reported the change itself, at once: no blip of a poll.
    pub reported: bool,
    /// A breach is not to be paged: outside market hours, in a maintenance window, or of a component that is not
    /// critical. What is open stays open and may recover.
    pub excused: bool,
    /// At which interval the series is checked.
    pub interval: Duration,
    /// The incident of another rule tells already that this data is missing: one cause, one message.
    pub told_elsewhere: bool,
}

impl Observation {
    /// A value recorded at a time, with nothing special about it.
    pub fn value(value: f64, at: Duration) -> Self {
        Self::of(Reading::Value { last: value, worst: value, at })
    }

    /// A reading with nothing special about it.
    pub fn of(reading: Reading) -> Self {
        Self {
            reading,
            reported: false,
            excused: false,
            interval: Duration::from_mins(1),
            told_elsewhere: false,
        }
    }
}

/// Whether figures have to be fresh now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hours {
    /// `health.hours` is not set.
    #[default]
    Unset,
    /// Outside them.
    Closed,
    /// Within them.
    Open {
        /// Since when, monotonic.
        since: Duration,
    },
}

/// The moment of a step.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic reading.
    pub monotonic: Duration,
    /// The time of day, only ever shown.
    pub wall: Timestamp,
    /// Whether figures have to be fresh.
    pub hours: Hours,
    /// Makes the id of an incident that opens now unique; see `incident_id`.
    pub sequence: u64,
}
