//! What the metrics give to the evaluation: one collected series at a time, borrowed.

use std::time::Duration;

/// The labels of a series, in any order, each name once.
pub trait LabelSet {
    /// Calls `visit` with each name and value.
    fn visit(&self, visit: &mut dyn FnMut(&str, &str));
}

impl LabelSet for [(&str, &str)] {
    fn visit(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self {
            visit(name, value);
        }
    }
}

impl<const N: usize> LabelSet for [(&str, &str); N] {
    fn visit(&self, visit: &mut dyn FnMut(&str, &str)) {
        self.as_slice().visit(visit);
    }
}

impl LabelSet for [(String, String)] {
    fn visit(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self {
            visit(name, value);
        }
    }
}

impl LabelSet for Vec<(String, String)> {
    fn visit(&self, visit: &mut dyn FnMut(&str, &str)) {
        self.as_slice().visit(visit);
    }
}

/// A series' collected value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured<'a> {
    /// A gauge's, and what a latch keeps of it: the worst since it was read, where there is a latch.
    Gauge {
        /// The last value.
        last: f64,
        /// The worst since the latch was read.
        worst: Option<f64>,
    },
    /// A counter's sum since the process began.
    Counter(f64),
    /// A histogram since the process began.
    Histogram {
        /// The upper bounds, without `+Inf`.
        bounds: &'a [f64],
        /// Observations by bucket, not cumulative: one more than bounds.
        counts: &'a [u64],
        /// The sum of the observations.
        sum: f64,
    },
}

/// When a series was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Not by this process: what is collected is a start-up 0.
    Never,
    /// At this reading of the process' monotonic clock.
    At(Duration),
    /// At some time: the instrument does not keep it, so that the series cannot be stale.
    Unknown,
    /// The last recording was refused: NaN or infinite.
    Refused,
}

/// What was current when a value was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The order.
    pub order_id: Option<String>,
    /// The trace, in hex.
    pub trace_id: Option<String>,
    /// The last error of what the series is about, without secrets.
    pub last_error: Option<String>,
}

/// One collected series.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// Its labels.
    pub labels: &'a dyn LabelSet,
    /// Its value.
    pub measured: Measured<'a>,
    /// When it was recorded.
    pub recorded: Recorded,
    /// Its owner reported the change itself; no poll found it.
    pub reported: bool,
    /// A breach is not to be paged: outside `health.hours`, within `maintenance`, or a component that is not marked
    /// critical.
    pub excused: bool,
    /// The interval at which it is checked, where it is.
    pub interval: Option<Duration>,
    /// What was current when it was recorded, where that is known.
    pub origin: Option<&'a Origin>,
}

impl<'a> Sample<'a> {
    /// A gauge, with nothing special about it.
    pub fn gauge(labels: &'a dyn LabelSet, value: f64, recorded: Recorded) -> Self {
        Self::new(labels, Measured::Gauge { last: value, worst: None }, recorded)
    }

    /// A series, with nothing special about it.
    pub fn new(labels: &'a dyn LabelSet, measured: Measured<'a>, recorded: Recorded) -> Self {
        Self { labels, measured, recorded, reported: false, excused: false, interval: None, origin: None }
    }
}
