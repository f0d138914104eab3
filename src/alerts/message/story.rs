//! How an incident came to its newest state, for those who were not told while it happened.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::super::event::{AlertSeverity, Event, EventKind, Reason};
use super::text::figure;

/// How many moments are kept of a story's beginning, and how many of its end.
const BEGINNING: usize = 2;
const END: usize = 10;

/// One state that an incident went through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    kind: EventKind,
    severity: AlertSeverity,
    reason: Option<Reason>,
    at: Timestamp,
}

impl Moment {
    fn word(&self) -> String {
        match (self.kind, self.reason) {
            (EventKind::Opened, _) => "opened".into(),
            (EventKind::Resolved, _) => "resolved".into(),
            (EventKind::Escalated | EventKind::DeEscalated, _) => self.severity.as_str().into(),
            (EventKind::Updated, Some(reason)) => reason.as_str().into(),
            (kind, _) => kind.as_str().into(),
        }
    }
}

/// The states of one incident that a channel has not been told, oldest first. Bounded: the middle of a long story is
/// counted, not kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Story {
    moments: Vec<Moment>,
    omitted: u32,
}

impl Story {
    /// The story that is `event` alone.
    pub fn of(event: &Event) -> Self {
        let moment =
            Moment { kind: event.kind, severity: event.severity, reason: event.reason, at: event.at };
        Self { moments: vec![moment], omitted: 0 }
    }

    /// Appends what happened since. A reminder is no news.
    pub fn extend(&mut self, later: Self) {
        self.moments.extend(later.moments.into_iter().filter(|moment| moment.kind != EventKind::Reminded));
        self.omitted = self.omitted.saturating_add(later.omitted);
        while self.moments.len() > BEGINNING + END {
            self.moments.remove(BEGINNING);
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Whether it has not been told that the incident began.
    pub(crate) fn begins_with_opening(&self) -> bool {
        self.moments.first().is_some_and(|moment| moment.kind == EventKind::Opened)
    }

    /// `opened 10:01:02, critical 10:01:05, resolved 10:01:40, worst 8.4 %`; `None` of a single moment.
    pub(super) fn in_words(&self, event: &Event) -> Option<String> {
        let (first, last) = (self.moments.first()?, self.moments.last()?);
        if self.moments.len() < 2 {
            return None;
        }
        // Times alone are clear within a day.
        let day = |moment: &Moment| moment.at.to_zoned(TimeZone::UTC).date();
        let format = if day(first) == day(last) { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        let mut words = String::new();
        for (index, moment) in self.moments.iter().enumerate() {
            if index == BEGINNING && self.omitted > 0 {
                let _ = write!(words, "{} more changes, ", self.omitted);
            }
            let _ = write!(words, "{} {}, ", moment.word(), moment.at.strftime(format));
        }
        if let Some(worst) = event.worst {
            let _ = write!(words, "worst {}", figure(worst, &event.unit));
        }
        Some(words.trim_end_matches(", ").to_owned())
    }
}
