//! What the engine has to tell: one change of one incident, or one direct alert, as plain data.
//!
//! Deciding ends here and delivering begins: an [`Event`] is complete, so that it can be stored and sent by a later
//! process that knows neither the rule nor the metric. It serialises in formats that do not describe themselves, too.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How bad it is. Ordered: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// A routine event: a job done, a model retrained.
    Info,
    /// A risk threshold breached.
    Warning,
    /// System failure, kill switch, account violation.
    Critical,
}

impl AlertSeverity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The label value and the word in settings: `info`, `warning`, `critical`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The word in a message: `INFO`, `WARNING`, `CRITICAL`.
    pub const fn as_upper_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for AlertSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An alert that the service sent by itself, with no rule behind it and nothing to resolve.
    Direct,
    /// A message of `test_channel`, marked `[TEST]`.
    Test,
    /// An incident began.
    Opened,
    /// It became more severe.
    Escalated,
    /// It became less severe, and still holds.
    DeEscalated,
    /// Its severity is the same, and there is something new to say: its data went missing or came back, or a direct
    /// alert joined it.
    Updated,
    /// It still holds and the repeat interval is over.
    Reminded,
    /// It changes too often: the one notice before the quiet.
    Flapping,
    /// It changes too often no more: the state that it came to rest in, still open.
    Settled,
    /// It ended. [`Event::reason`] tells when nobody saw it recover.
    Resolved,
}

impl EventKind {
    /// The word in JSON and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Test => "test",
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::DeEscalated => "de_escalated",
            Self::Updated => "updated",
            Self::Reminded => "reminded",
            Self::Flapping => "flapping",
            Self::Settled => "settled",
            Self::Resolved => "resolved",
        }
    }

    /// Whether it belongs to an incident that has a life, so that a later event of the same incident supersedes it.
    pub const fn is_of_incident(self) -> bool {
        !matches!(self, Self::Direct | Self::Test)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an incident is in its state for another reason than its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its series vanished.
    NoData,
    /// Nobody has recorded it for the rule's time.
    Stale,
    /// What is recorded is NaN or infinite.
    Invalid,
    /// Its rule was removed or switched off.
    RuleRemoved,
}

impl Reason {
    /// The words in a message: `no data`, `stale`, `invalid`, `rule removed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no data",
            Self::Stale => "stale",
            Self::Invalid => "invalid",
            Self::RuleRemoved => "rule removed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a value is compared with a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Comparison {
    /// Strictly above.
    #[serde(rename = ">")]
    Above,
    /// At or above.
    #[serde(rename = ">=")]
    AtLeast,
    /// Strictly below.
    #[serde(rename = "<")]
    Below,
    /// At or below.
    #[serde(rename = "<=")]
    AtMost,
}

impl Comparison {
    /// `>`, `>=`, `<`, `<=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    /// Whether larger is worse.
    pub const fn is_upward(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }

    /// Whether `value` breaches `level`. Never true of NaN.
    pub fn holds(self, value: f64, level: f64) -> bool {
        match self {
            Self::Above => value > level,
            Self::AtLeast => value >= level,
            Self::Below => value < level,
            Self::AtMost => value <= level,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The bound that a value was compared with; displays as `> 8`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// How.
    pub comparison: Comparison,
    /// With what, in the metric's unit.
    pub level: f64,
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison, self.level)
    }
}

/// A value of an alert's metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MetadataValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number. May be NaN or infinite: text output must cope.
    Float(f64),
    /// Text, unescaped and of any length.
    Text(String),
}

impl fmt::Display for MetadataValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl From<bool> for MetadataValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for MetadataValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for MetadataValue {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for MetadataValue {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for MetadataValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for MetadataValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for MetadataValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// One change of one incident, or one direct alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The incident's id: the same for its whole life, sortable by time of birth. A direct alert has one of its own.
    pub incident: String,
    /// The rule's name; `None` for a direct alert that joined none.
    pub rule: Option<String>,
    /// What happened.
    pub kind: EventKind,
    /// The severity now; of a resolved incident, the one it ended from.
    pub severity: AlertSeverity,
    /// The highest severity of the incident so far.
    pub worst_severity: AlertSeverity,
    /// The title, without emoji and without severity.
    pub title: String,
    /// The message.
    pub message: String,
    /// What the service gave to a direct alert, in its order; then, of a component that is down, its `last_error`.
    pub metadata: Vec<(String, MetadataValue)>,
    /// The value that decided, in [`Self::unit`]. Always finite; `None` where there was no number.
    pub value: Option<f64>,
    /// The worst value since the incident began, in [`Self::unit`]. Always finite.
    pub worst: Option<f64>,
    /// The level of [`Self::severity`].
    pub threshold: Option<Threshold>,
    /// The unit of the three above, for people: `%`, `$`, `ms`, `bps`, `s`; empty where there is none.
    pub unit: String,
    /// When the incident began, by the wall clock of that moment.
    pub since: Timestamp,
    /// When this happened, by the wall clock of that moment.
    pub at: Timestamp,
    /// How long the incident has lasted, by the monotonic clock where one process saw all of it.
    pub duration: Duration,
    /// The labels of the series, sorted by name.
    pub labels: Vec<(String, String)>,
    /// The order that was current when it was reported, if any.
    pub order_id: Option<String>,
    /// The trace that was current, in hex, if any.
    pub trace_id: Option<String>,
    /// Why, where it is not the value.
    pub reason: Option<Reason>,
    /// For how many this one stands; 1 unless duplicates were folded.
    pub count: u32,
    /// The channels that the rule or the caller chose; `None` leaves it to the routes in the settings.
    pub channels: Option<Vec<String>>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// A silence was in force: to be recorded, not sent.
    pub silenced: bool,
}

impl Event {
    /// An event of which nothing is known but this: without texts, values, labels, and for the routes in the settings.
    pub fn new(incident: impl Into<String>, kind: EventKind, severity: AlertSeverity, at: Timestamp) -> Self {
        Self {
            incident: incident.into(),
            rule: None,
            kind,
            severity,
            worst_severity: severity,
            title: String::new(),
            message: String::new(),
            metadata: Vec::new(),
            value: None,
            worst: None,
            threshold: None,
            unit: String::new(),
            since: at,
            at,
            duration: Duration::ZERO,
            labels: Vec::new(),
            order_id: None,
            trace_id: None,
            reason: None,
            count: 1,
            channels: None,
            runbook: None,
            silenced: false,
        }
    }

    /// Whether its incident is open after this event. Never so for a direct alert.
    pub fn is_open(&self) -> bool {
        self.kind.is_of_incident() && self.kind != EventKind::Resolved
    }
}
