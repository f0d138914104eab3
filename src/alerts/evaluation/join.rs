//! Direct alerts that mean a rule's condition: one message, not one from the rule and one by hand.

use std::time::Duration;

use jiff::Timestamp;

use super::series::{Metric, OpenSeries};
use super::{Evaluator, render};
use crate::alerts::direct::DirectAlert;
use crate::alerts::event::{AlertSeverity, Event};
use crate::alerts::incident::{Joined, Now};
use crate::alerts::rule::Rule;

/// How long a direct alert waits for the incident that it means to open.
const PATIENCE: Duration = Duration::from_millis(500);

/// A direct alert that waits for its incident to open.
#[derive(Debug)]
pub(super) struct Held {
    rule: String,
    pub(super) alert: DirectAlert,
    pub(super) until: Duration,
}

/// Takes out of `held` what means an incident that opens now. One that names the rule gives its text before one that
/// only has the rule's title.
pub(super) fn claim(held: &mut Vec<Held>, rule: &Rule, labels: &[(String, String)]) -> Option<Joined> {
    let mut claimed: Option<DirectAlert> = None;
    held.retain(|held| {
        if held.rule != rule.name || !is_within(&held.alert.labels, labels) {
            return true;
        }
        let is_better = |best: &DirectAlert| best.rule.is_none() && held.alert.rule.is_some();
        if claimed.as_ref().is_none_or(is_better) {
            claimed = Some(held.alert.clone());
        }
        false
    });
    claimed.map(joined)
}

fn joined(alert: DirectAlert) -> Joined {
    let DirectAlert { message, metadata, order_id, trace_id, .. } = alert;
    Joined { message, metadata, order_id, trace_id }
}

fn is_within(some: &[(String, String)], labels: &[(String, String)]) -> bool {
    some.iter().all(|label| labels.contains(label))
}

impl Evaluator {
    /// Joins the alert to the open incident that it means, holds it back until that opens, or sends it by itself.
    pub(super) fn join(&mut self, mut alert: DirectAlert, now: &Now) -> Vec<Event> {
        let names = |rule: &Rule| {
            alert.rule.as_ref().map_or_else(|| rule.has_title(&alert.title), |n| *n == rule.name)
        };
        let rule = self.metrics.iter().flat_map(Metric::rules).find(|rule| names(rule)).cloned();
        let Some(rule) = rule else {
            alert.rule = None;
            return self.admit(&alert, now.monotonic, now.wall).into_iter().collect();
        };
        let silences = &self.silences;
        let open = self
            .metrics
            .iter_mut()
            .find_map(|metric| metric.open_series(&rule.name, |labels| is_within(&alert.labels, labels)));
        let Some(OpenSeries { labels, state, is_muted }) = open else {
            let until = now.monotonic.saturating_add(PATIENCE);
            self.held.push(Held { rule: rule.name.clone(), alert, until });
            return Vec::new();
        };
        let Some(incident) = state.incident_mut() else { return Vec::new() };
        let is_fresh = incident.duration(now.monotonic) < self.tuning.duplicates;
        let is_milder = incident.severity.is_some_and(|severity| alert.severity <= severity);
        let is_known = incident.joined.as_ref().is_some_and(|joined| joined.message == alert.message);
        // By its title alone it means this incident, and says nothing new while that is news itself.
        if is_known || (alert.rule.is_none() && is_fresh && is_milder) {
            if incident.joined.is_none() && alert.severity == AlertSeverity::Critical {
                incident.joined = Some(joined(alert));
            }
            return Vec::new();
        }
        if alert.rule.is_none() && !is_milder {
            return self.admit(&alert, now.monotonic, now.wall).into_iter().collect();
        }
        incident.joined = Some(joined(alert));
        let Some(transition) = state.retell(now) else { return Vec::new() };
        *is_muted = silences.mute(&rule, labels, now.wall);
        vec![render::event(&rule, labels, transition, now.wall, *is_muted)]
    }

    /// What has waited long enough: direct alerts whose incident did not open, and counts of duplicates.
    pub(super) fn due(&mut self, now: Duration, wall: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        if self.held.iter().any(|held| now >= held.until) {
            let (over, held) = std::mem::take(&mut self.held).into_iter().partition(|held| now >= held.until);
            self.held = held;
            for held in over as Vec<Held> {
                events.extend(self.admit_alone(held, now, wall));
            }
        }
        let mut sequence = self.sequence;
        events.extend(self.direct.due(now, wall, || {
            sequence = sequence.wrapping_add(1);
            sequence
        }));
        self.sequence = sequence;
        events
    }

    /// Sends by itself what joined no incident.
    pub(super) fn admit_alone(&mut self, held: Held, now: Duration, wall: Timestamp) -> Option<Event> {
        self.admit(&DirectAlert { rule: None, ..held.alert }, now, wall)
    }

    fn admit(&mut self, alert: &DirectAlert, now: Duration, wall: Timestamp) -> Option<Event> {
        let sequence = self.next_sequence();
        self.direct.admit(alert, now, wall, sequence)
    }
}
