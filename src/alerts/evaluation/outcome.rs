//! What an evaluation tells: events, states of rules, open incidents.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alerts::event::{Event, EventKind};
use crate::alerts::incident::{Incident, State};
use crate::alerts::rule::Rule;

/// What a pass came to.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// What there is to tell, in order.
    pub events: Vec<Event>,
    /// What is wrong with the watching itself, each once.
    pub notices: Vec<Notice>,
}

/// What is wrong with the watching itself: for the log, once a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// No series of the rule's metric has appeared.
    NeverAppeared {
        /// The rule.
        rule: String,
        /// Its metric.
        metric: String,
    },
    /// Series were folded into the SDK's overflow set, where no rule can tell them apart.
    PartlyBlind {
        /// The rule.
        rule: String,
        /// Its metric.
        metric: String,
    },
}

/// The state of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleState {
    /// Of all its series the worst: 0 normal, 1 warning, 2 critical; -1 where none of it is bad and some of it blind.
    pub value: i8,
    /// Whether some of its series cannot be told apart.
    pub is_partly_blind: bool,
}

/// An open incident as it is stored: for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredIncident {
    /// The rule's name.
    pub rule: String,
    /// The labels of the series, sorted.
    pub labels: Vec<(String, String)>,
    /// The state of the series.
    #[serde(flatten)]
    pub(super) known: Known,
    /// When it was stored, on the timeline.
    pub(super) as_of: Duration,
    /// When it was stored, by the wall clock.
    pub(super) wall: Timestamp,
}

impl StoredIncident {
    /// The incident's id.
    pub fn id(&self) -> &str {
        self.known.state.incident().map_or("", |incident| incident.id.as_str())
    }
}

/// The state of a series for a rule, and what people know of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) state: State,
    /// Whether a silence muted the last message.
    pub(super) is_muted: bool,
    /// Whether people heard of the incident at all.
    #[serde(default = "heard")]
    pub(super) is_heard: bool,
}

/// Of an incident that an earlier version stored: an end too many is better than one too few.
fn heard() -> bool {
    true
}

impl Known {
    /// Takes note of a message, and says whether it is muted: what nobody has heard of ends unheard, too.
    pub(super) fn tell(&mut self, kind: EventKind, is_silenced: bool) -> bool {
        let is_end = kind == EventKind::Resolved;
        let is_muted = is_silenced || (is_end && !self.is_heard);
        self.is_muted = is_muted && !is_end;
        self.is_heard = (self.is_heard || !is_muted) && !is_end;
        is_muted
    }

    /// What makes one graver than another: that there is an incident, how severe it is, how severe it was.
    pub(super) fn gravity(&self) -> impl Ord + use<> {
        self.state.incident().map(|incident| (incident.severity, incident.worst_severity))
    }
}

/// An open incident.
#[derive(Clone, Copy, Debug)]
pub struct OpenIncident<'a> {
    /// Its rule.
    pub rule: &'a Rule,
    /// The labels of its series, sorted.
    pub labels: &'a [(String, String)],
    /// What is known of it.
    pub incident: &'a Incident,
    /// How long it has lasted.
    pub duration: Duration,
    /// Whether a silence mutes it.
    pub is_muted: bool,
    /// Whether nobody can tell at present if it still holds.
    pub is_blind: bool,
}
