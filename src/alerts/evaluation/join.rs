//! Direct alerts that mean a rule's condition: one message, not one from the rule and one by hand.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::series::{Metric, OpenSeries};
use super::{Evaluator, Moment, render};
use crate::alerts::direct::DirectAlert;
use crate::alerts::event::{AlertSeverity, Event};
use crate::alerts::incident::{Joined, Now, incident_id};
use crate::alerts::rule::Rule;

/// How long a direct alert waits for the incident that it means to open.
const PATIENCE: Duration = Duration::from_millis(500);

/// Direct alerts that wait for their incidents to open. They are stored while they do.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    held: Vec<Held>,
    /// Keys of records whose alert waits no more.
    over: Vec<String>,
}

#[derive(Debug)]
struct Held {
    /// Of its record.
    key: String,
    rule: String,
    stored: StoredAlert,
    until: Duration,
    is_stored: bool,
    /// An open incident told of it. It waits in case that is about to end and the one that it means to follow: nothing
    /// is left to send.
    is_told: bool,
}

/// A direct alert that waits for its incident to open, as it is stored: a process that is killed meanwhile leaves it to
/// the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredAlert {
    alert: DirectAlert,
    /// When it was sent, by the wall clock.
    at: Timestamp,
}

impl Waiting {
    fn push(&mut self, key: String, rule: String, alert: DirectAlert, is_told: bool, now: &Now) {
        let until = now.monotonic.saturating_add(PATIENCE);
        let stored = StoredAlert { alert, at: now.wall };
        self.held.push(Held { key, rule, stored, until, is_stored: false, is_told });
    }

    /// Takes out what means an incident that opens now with `severity`: its text, and whatever says no more than that.
    /// The newest reason is the valid one, and one that names the rule goes before one that only has the rule's title.
    pub(super) fn claim(
        &mut self,
        rule: &Rule,
        labels: &[(String, String)],
        severity: AlertSeverity,
        is_muted: bool,
    ) -> Option<Joined> {
        let means = |held: &Held| {
            let alert = &held.stored.alert;
            held.rule == rule.name && is_within(&alert.labels, labels) && may_join(alert, severity, is_muted)
        };
        let alerts = self.held.iter().filter(|held| means(held)).map(|held| &held.stored.alert);
        let text = alerts.max_by_key(|alert| alert.rule.is_some())?.clone();
        self.take(|held| {
            let alert = &held.stored.alert;
            let is_told = text.rule.is_some() || !is_critical(alert) || alert.message == text.message;
            means(held) && is_told
        });
        Some(joined(text))
    }

    /// Takes out what has waited long enough, to be sent.
    fn take_due(&mut self, now: Duration) -> Vec<DirectAlert> {
        self.take(|held| now >= held.until)
    }

    /// Takes out everything, to be sent.
    pub(super) fn take_all(&mut self) -> Vec<DirectAlert> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Held) -> bool) -> Vec<DirectAlert> {
        let mut taken = Vec::new();
        for held in self.held.extract_if(.., |held| which(held)) {
            if held.is_stored {
                self.over.push(held.key);
            }
            if !held.is_told {
                taken.push(held.stored.alert);
            }
        }
        taken
    }

    /// When the first of them has waited long enough.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.held.iter().map(|held| held.until).min()
    }

    /// What has to be stored since the last call, by key; `None` removes.
    pub(super) fn take_changes(&mut self) -> Vec<(String, Option<StoredAlert>)> {
        let over = std::mem::take(&mut self.over).into_iter().map(|key| (key, None));
        let new = self.held.iter_mut().filter(|held| !held.is_stored && !held.is_told).map(|held| {
            held.is_stored = true;
            (held.key.clone(), Some(held.stored.clone()))
        });
        over.chain(new).collect()
    }
}

fn joined(alert: DirectAlert) -> Joined {
    let DirectAlert { message, metadata, order_id, trace_id, rule, .. } = alert;
    Joined { message, metadata, order_id, trace_id, is_by_name: rule.is_some() }
}

fn is_critical(alert: &DirectAlert) -> bool {
    alert.severity == AlertSeverity::Critical
}

/// Whether an incident tells of the alert in the alert's stead: what is critical must not go unheard with a muted
/// incident, nor become a warning.
fn may_join(alert: &DirectAlert, severity: AlertSeverity, is_muted: bool) -> bool {
    !is_critical(alert) || (severity == AlertSeverity::Critical && !is_muted)
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
        let Some(OpenSeries { labels, known }) = open else {
            let key = incident_id(now.wall, self.next_sequence());
            self.waiting.push(key, rule.name.clone(), alert, false, now);
            return Vec::new();
        };
        let Some(incident) = known.state.incident_mut() else { return Vec::new() };
        let severity = incident.severity.unwrap_or(AlertSeverity::Info);
        let is_silenced = silences.mute(&rule, labels, now.wall);
        let is_unheard = known.is_muted || is_silenced;
        let age = incident.duration(now.monotonic);
        let by_title = alert.rule.is_none();
        let is_milder = alert.severity <= severity;
        let is_known = incident.joined.as_ref().is_some_and(|joined| {
            // By its title alone, and sent together with the reason, it means that.
            let means_it = joined.is_by_name && by_title && is_milder && age < PATIENCE;
            joined.message == alert.message || means_it
        });
        // By its title alone a milder one says nothing new while the incident is news itself.
        let is_no_news = by_title && !is_critical(&alert) && is_milder && age < self.tuning.duplicates;
        let is_reason = !by_title && may_join(&alert, severity, is_unheard);
        if is_reason {
            self.waiting.push(String::new(), rule.name.clone(), alert.clone(), true, now);
        }
        if is_no_news || (is_known && !(is_unheard && is_critical(&alert))) {
            return Vec::new();
        }
        // A text that only has the title of an old incident may be about something else.
        let is_meant = !by_title || !is_critical(&alert) || (incident.joined.is_none() && age < PATIENCE);
        if !is_meant || (by_title && !is_milder) || !may_join(&alert, severity, is_unheard) {
            return self.admit_alone(alert, now.monotonic, now.wall).into_iter().collect();
        }
        incident.joined = Some(joined(alert));
        let Some(transition) = known.state.retell(now) else { return Vec::new() };
        let is_muted = known.tell(transition.kind, is_silenced);
        vec![render::event(&rule, labels, transition, now.wall, is_muted)]
    }

    /// What has waited long enough: direct alerts whose incident did not open, and counts of duplicates.
    pub(super) fn due(&mut self, now: Duration, wall: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        for alert in self.waiting.take_due(now) {
            events.extend(self.admit_alone(alert, now, wall));
        }
        let mut sequence = self.sequence;
        events.extend(self.direct.due(now, wall, || {
            sequence = sequence.wrapping_add(1);
            sequence
        }));
        self.sequence = sequence;
        events
    }

    /// The alerts that an earlier process held back and had no time to tell, as of the moment they were sent.
    pub fn restore_waiting(&mut self, stored: Vec<StoredAlert>, moment: Moment) -> Vec<Event> {
        let now = self.now(moment).monotonic;
        stored.into_iter().filter_map(|StoredAlert { alert, at }| self.admit_alone(alert, now, at)).collect()
    }

    /// Sends by itself what joined no incident.
    pub(super) fn admit_alone(
        &mut self,
        alert: DirectAlert,
        now: Duration,
        wall: Timestamp,
    ) -> Option<Event> {
        self.admit(&DirectAlert { rule: None, ..alert }, now, wall)
    }

    fn admit(&mut self, alert: &DirectAlert, now: Duration, wall: Timestamp) -> Option<Event> {
        let sequence = self.next_sequence();
        self.direct.admit(alert, now, wall, sequence)
    }
}
