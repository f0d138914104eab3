//! From the severity that a series has to what there is to tell about it.

use super::{Incident, Limits, Now, Observation, State, Transition, incident_id};
use crate::alerts::event::{AlertSeverity, EventKind, Reason};
use crate::alerts::rule::{MissingPolicy, Rule};

impl State {
    /// Brings the incident in line with the state of the series.
    pub(super) fn announce(
        &mut self,
        rule: &Rule,
        limits: &Limits,
        observation: &Observation,
        value: Option<f64>,
        now: &Now,
        told: &mut Vec<Transition>,
    ) {
        let is_told_elsewhere = self.is_told_elsewhere(rule, observation, now);
        let tells_of_silence = self.tells_of_missing() || !is_told_elsewhere;
        let target = self.target(rule, tells_of_silence);
        let reason = self.missing.map(|mark| mark.reason);
        if let Some(incident) = &mut self.incident {
            incident.observe(rule, value);
        }
        let Some(kind) = self.change(rule, target, reason, is_told_elsewhere) else {
            self.settle(limits, now, told);
            return;
        };
        if kind == EventKind::Opened
            && let Some(severity) = target
        {
            self.incident = Some(Box::new(Incident::open(severity, value, now)));
        }
        let Some(mut incident) = self.incident.take() else { return };
        if kind != EventKind::Resolved || reason.is_some() {
            incident.reason = reason;
        }
        incident.severity = target;
        incident.worst_severity = incident.worst_severity.max(target.unwrap_or(AlertSeverity::Info));

        let was_flapping = self.flapping.is_flapping();
        let begins = self.flapping.change(limits, now.monotonic);
        let is_news = !was_flapping && (!begins || kind == EventKind::Opened);
        // Held back is only what people believe already.
        let is_critical_news =
            target == Some(AlertSeverity::Critical) && incident.told < AlertSeverity::Critical;
        if is_news || is_critical_news {
            let kind = if is_news { kind } else { EventKind::Escalated };
            told.push(incident.tell(kind, reason, now));
        }
        if begins {
            told.push(incident.tell(EventKind::Flapping, reason, now));
        }
        if !tells_of_silence {
            // The message spoke of it beside its value; the severity is not of it.
            incident.told_missing = None;
        }
        if kind != EventKind::Resolved || self.flapping.is_flapping() {
            self.incident = Some(incident);
        }
    }

    /// What changes, if anything does.
    fn change(
        &mut self,
        rule: &Rule,
        target: Option<AlertSeverity>,
        reason: Option<Reason>,
        is_told_elsewhere: bool,
    ) -> Option<EventKind> {
        let Some(incident) = &mut self.incident else { return target.map(|_| EventKind::Opened) };
        if target != incident.severity {
            return Some(match target {
                None => EventKind::Resolved,
                Some(_) if target > incident.severity => EventKind::Escalated,
                Some(_) => EventKind::DeEscalated,
            });
        }
        let is_invalid = self.invalid_since.is_some() && incident.reason == Some(Reason::Invalid);
        if is_invalid {
            return None;
        }
        let is_known = reason == incident.told_missing || (reason.is_some() && is_told_elsewhere);
        if rule.missing.policy == MissingPolicy::Alert
            && target.is_some()
            && incident.reason != Some(Reason::Invalid)
            && !is_known
        {
            return Some(EventKind::Updated);
        }
        // Where missing data is no alert, or told by another, it is told with the next message and makes none of its own.
        incident.reason = reason;
        None
    }

    /// Ends the quiet of a series that flaps no more, with the state that it came to rest in.
    fn settle(&mut self, limits: &Limits, now: &Now, told: &mut Vec<Transition>) {
        self.flapping.forget(limits, now.monotonic);
        if !self.flapping.settles(limits, now.monotonic) {
            return;
        }
        let Some(mut incident) = self.incident.take() else { return };
        let reason = incident.reason;
        if incident.severity.is_some() {
            told.push(incident.tell(EventKind::Settled, reason, now));
            self.incident = Some(incident);
        } else {
            told.push(incident.tell(EventKind::Resolved, reason, now));
        }
    }

    /// Tells again what still holds, every so often.
    pub(super) fn remind(
        &mut self,
        rule: &Rule,
        observation: &Observation,
        now: &Now,
        told: &mut Vec<Transition>,
    ) {
        let is_blind = !self.seen;
        let Some(incident) = &mut self.incident else { return };
        let Some(interval) = incident.severity.and_then(|severity| rule.repeat(severity)) else { return };
        if observation.excused || now.monotonic.saturating_sub(incident.told_at) < interval {
            return;
        }
        let reason = incident.reason.or(is_blind.then_some(Reason::NoData));
        told.push(incident.tell(EventKind::Reminded, reason, now));
    }
}

impl Incident {
    fn open(severity: AlertSeverity, value: Option<f64>, now: &Now) -> Self {
        Self {
            id: incident_id(now.wall, now.sequence),
            severity: Some(severity),
            told: AlertSeverity::Info,
            told_missing: None,
            worst_severity: severity,
            value,
            worst: value,
            reason: None,
            since: now.wall,
            title: None,
            joined: None,
            order_id: None,
            trace_id: None,
            last_error: None,
            opened_at: now.monotonic,
            told_at: now.monotonic,
            gaps: std::time::Duration::ZERO,
        }
    }

    fn observe(&mut self, rule: &Rule, value: Option<f64>) {
        let Some(value) = value else { return };
        self.value = Some(value);
        if self.worst.is_none_or(|worst| rule.is_worse(value, worst)) {
            self.worst = Some(value);
        }
    }

    pub(super) fn tell(&mut self, kind: EventKind, reason: Option<Reason>, now: &Now) -> Transition {
        let severity = self.severity.unwrap_or(self.told);
        self.told = severity;
        self.told_missing = self.reason.filter(|reason| *reason != Reason::Invalid);
        self.told_at = now.monotonic;
        let duration = self.duration(now.monotonic);
        Transition { kind, incident: self.clone(), severity, duration, reason }
    }
}
