//! The incident of one series of one rule: a pure state machine. [`step`] reads no clock and does no I/O.
//!
//! Time is a monotonic [`Duration`] since an arbitrary point that the caller keeps across restarts (see
//! [`crate::alerts::evaluation`]); the wall clock is only ever shown.

mod announce;
mod flapping;
mod id;
mod levels;
mod observation;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use id::incident_id;
pub use observation::{Hours, Now, Observation, Reading};

use super::event::{AlertSeverity, EventKind, MetadataValue, Reason};
use super::rule::{MissingPolicy, Rule};
use flapping::Flapping;
use levels::Levels;

/// What holds for all rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// More changes than this within the window are flapping.
    pub flapping_changes: usize,
    /// The window.
    pub flapping_window: Duration,
    /// Without a change for so long, it has settled.
    pub flapping_calm: Duration,
    /// After so long NaN is the incident's reason.
    pub invalid_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flapping_changes: 6,
            flapping_window: Duration::from_mins(10),
            flapping_calm: Duration::from_mins(5),
            invalid_after: Duration::from_mins(1),
        }
    }
}

/// All that is known of one series of one rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    levels: Levels,
    flapping: Flapping,
    /// Set from when data was missing for the rule's time until something newer is recorded.
    missing: Option<Mark>,
    /// When the incident of another rule last told that the same data is missing.
    told_elsewhere: Option<Duration>,
    absent_since: Option<Duration>,
    invalid_since: Option<Duration>,
    /// In a box, since nearly every series has none and each step moves its state.
    incident: Option<Box<Incident>>,
    /// Whether this process has recorded it.
    #[serde(skip)]
    seen: bool,
}

/// Since when data counts as missing, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Mark {
    reason: Reason,
    at: Duration,
}

/// An open incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id, for its whole life.
    pub id: String,
    /// Its severity now; `None` while it flaps and is at rest between two bouts.
    pub severity: Option<AlertSeverity>,
    /// The severity of the last message.
    pub told: AlertSeverity,
    /// The missing data that the last message spoke of.
    told_missing: Option<Reason>,
    /// The highest so far.
    pub worst_severity: AlertSeverity,
    /// The last value. Finite.
    pub value: Option<f64>,
    /// The worst value. Finite.
    pub worst: Option<f64>,
    /// Why, where it is not the value.
    pub reason: Option<Reason>,
    /// When it began, by the wall clock of that moment.
    pub since: Timestamp,
    /// Its title, as it was told last.
    #[serde(default)]
    pub title: Option<String>,
    /// What a service said about it.
    pub joined: Option<Joined>,
    /// The order that was current when it began, where that is known.
    pub order_id: Option<String>,
    /// The trace that was current when it began, where that is known.
    pub trace_id: Option<String>,
    /// The last error of what it is about, where that is known.
    pub last_error: Option<String>,
    /// When it began, monotonic.
    opened_at: Duration,
    /// When it was last told, monotonic.
    told_at: Duration,
    /// The time between processes, that the monotonic reading does not count.
    gaps: Duration,
}

/// A direct alert that joined an incident: the text that it shows from then on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// In place of the rule's message.
    pub message: String,
    /// What was given with it.
    pub metadata: Vec<(String, MetadataValue)>,
    /// The order that was current.
    pub order_id: Option<String>,
    /// The trace that was current.
    pub trace_id: Option<String>,
    /// Whether it named the rule, and did not only have its title.
    #[serde(default)]
    pub is_by_name: bool,
}

impl Incident {
    /// How long it has lasted.
    pub fn duration(&self, now: Duration) -> Duration {
        now.saturating_sub(self.opened_at).saturating_add(self.gaps)
    }
}

/// One change, to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// What happened.
    pub kind: EventKind,
    /// The incident as it is now; when resolved, as it was.
    pub incident: Incident,
    /// The severity now; when resolved, the one it ended from.
    pub severity: AlertSeverity,
    /// How long the incident has lasted.
    pub duration: Duration,
    /// Why, where it is not the value.
    pub reason: Option<Reason>,
}

/// One step: what the observation makes of the state, and what there is to tell.
///
/// Allocates only where something changes.
#[must_use]
pub fn step(
    rule: &Rule,
    limits: &Limits,
    mut state: State,
    observation: &Observation,
    now: &Now,
) -> (State, Vec<Transition>) {
    let told = state.step(rule, limits, observation, now);
    (state, told)
}

impl State {
    /// As [`step`], without moving the state.
    pub(crate) fn step(
        &mut self,
        rule: &Rule,
        limits: &Limits,
        observation: &Observation,
        now: &Now,
    ) -> Vec<Transition> {
        let mut told = Vec::new();
        self.take(rule, limits, observation, now, &mut told);
        self.remind(rule, observation, now, &mut told);
        told
    }

    /// The open incident.
    pub fn incident(&self) -> Option<&Incident> {
        self.incident.as_deref()
    }

    pub(crate) fn incident_mut(&mut self) -> Option<&mut Incident> {
        self.incident.as_deref_mut()
    }

    /// The severity now.
    pub fn severity(&self) -> Option<AlertSeverity> {
        self.incident.as_ref().and_then(|incident| incident.severity)
    }

    /// The highest level that the value has reached and not left, whatever else there is to tell.
    pub(crate) fn level(&self) -> Option<AlertSeverity> {
        self.levels.severity()
    }

    /// Whether nobody can tell the state of the condition.
    pub fn is_blind(&self) -> bool {
        !self.seen || self.missing.is_some() || self.invalid_since.is_some() || self.absent_since.is_some()
    }

    /// Whether people know from its incident that its data is missing.
    pub(crate) fn tells_of_missing(&self) -> bool {
        self.incident.as_ref().is_some_and(|open| open.severity.is_some() && open.told_missing.is_some())
    }

    /// Whether this process has recorded it.
    pub(crate) fn is_seen(&self) -> bool {
        self.seen
    }

    /// The open incident again, where there is something new to say that no value tells.
    pub(crate) fn retell(&mut self, now: &Now) -> Option<Transition> {
        let incident = self.incident.as_mut()?;
        let reason = incident.reason;
        Some(incident.tell(EventKind::Updated, reason, now))
    }

    /// Ends the incident for a reason that no value tells.
    pub(crate) fn end(&mut self, reason: Option<Reason>, now: &Now) -> Option<Transition> {
        let mut incident = self.incident.take()?;
        incident.severity = None;
        Some(incident.tell(EventKind::Resolved, reason, now))
    }

    /// Whether forgetting it would lose nothing.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.incident.is_none() && self.levels == Levels::default() && self.flapping == Flapping::default()
    }

    /// Prepares a stored state for this process, which began `gap` after the state was stored, and whose timeline is
    /// `shift` further on: a `for` that nobody watched does not count, and what was open stays open.
    pub(crate) fn restore(&mut self, gap: Duration, shift: Duration) {
        self.seen = false;
        self.levels.forget_pending();
        self.absent_since = None;
        self.invalid_since = None;
        self.flapping.shift(shift);
        let marks = self.missing.iter_mut().map(|mark| &mut mark.at).chain(&mut self.told_elsewhere);
        marks.for_each(|at| *at = at.saturating_add(shift));
        if let Some(incident) = &mut self.incident {
            incident.gaps = incident.gaps.saturating_add(gap);
            incident.opened_at = incident.opened_at.saturating_add(shift);
            incident.told_at = incident.told_at.saturating_add(shift);
        }
    }

    fn take(
        &mut self,
        rule: &Rule,
        limits: &Limits,
        observation: &Observation,
        now: &Now,
        told: &mut Vec<Transition>,
    ) {
        if observation.told_elsewhere {
            self.told_elsewhere = Some(now.monotonic);
        }
        match observation.reading {
            Reading::Never => {}
            Reading::Value { last, worst, at } if last.is_finite() => {
                self.seen = true;
                self.invalid_since = None;
                self.absent_since = None;
                self.judge_age(rule, observation, at, now);
                let is_latched = worst.is_finite() && rule.is_worse(worst, last);
                for value in [worst, last].into_iter().skip(usize::from(!is_latched)) {
                    if !self.is_dropped(rule) {
                        self.levels.update(rule, value, observation, now.monotonic);
                    }
                    self.announce(rule, limits, observation, Some(value), now, told);
                }
                return;
            }
            Reading::Value { .. } | Reading::Invalid => {
                self.seen = true;
                self.absent_since = None;
                // It is recorded, if badly: what only another incident told of is over without a word.
                if self.told_elsewhere.take().is_some() && !self.tells_of_missing() {
                    self.missing = None;
                }
                let since = *self.invalid_since.get_or_insert(now.monotonic);
                if let Some(incident) = &mut self.incident
                    && now.monotonic.saturating_sub(since) >= limits.invalid_after
                {
                    incident.reason = Some(Reason::Invalid);
                }
                // A `for` under way goes on: NaN does not count as false.
            }
            Reading::Absent => {
                let since = *self.absent_since.get_or_insert(now.monotonic);
                self.judge_absence(rule, observation, since, now);
                self.levels.forget_pending();
            }
        }
        self.announce(rule, limits, observation, None, now, told);
    }

    /// A synchronous gauge repeats its last value for ever: how old is it?
    fn judge_age(&mut self, rule: &Rule, observation: &Observation, at: Duration, now: &Now) {
        if self.missing.is_some_and(|mark| at > mark.at) {
            self.missing = None;
            self.told_elsewhere = None;
        }
        if let Some(since) = start_of_waiting(rule, observation, at, now) {
            self.judge(rule, observation, Reason::Stale, since, now);
        }
    }

    fn judge_absence(&mut self, rule: &Rule, observation: &Observation, since: Duration, now: &Now) {
        if let Some(since) = start_of_waiting(rule, observation, since, now) {
            self.judge(rule, observation, Reason::NoData, since, now);
        }
    }

    fn judge(&mut self, rule: &Rule, observation: &Observation, reason: Reason, since: Duration, now: &Now) {
        let patience = rule.missing.after.duration(observation.interval);
        if now.monotonic.saturating_sub(since) >= patience
            && self.missing.is_none_or(|mark| mark.reason != reason)
        {
            self.missing = Some(Mark { reason, at: now.monotonic });
        }
        if self.is_dropped(rule) {
            self.levels = Levels::default();
        }
    }

    /// Whether the series counts for nothing until something newer is recorded.
    fn is_dropped(&self, rule: &Rule) -> bool {
        rule.missing.policy == MissingPolicy::Resolve && self.missing.is_some()
    }

    /// The severity that the series has for its rule: of its levels, or of its silence where it tells of that itself.
    fn target(&self, rule: &Rule, tells_of_silence: bool) -> Option<AlertSeverity> {
        let of_silence =
            self.missing.filter(|_| rule.missing.policy == MissingPolicy::Alert && tells_of_silence);
        self.levels.severity().max(of_silence.map(|_| rule.missing.severity))
    }

    /// Whether people know from another incident that the data is missing. Once that has ended, this series gets the time
    /// that its rule gives to any: what ended the other ends this one a moment later.
    fn is_told_elsewhere(&self, rule: &Rule, observation: &Observation, now: &Now) -> bool {
        let patience = rule.missing.after.duration(observation.interval);
        self.told_elsewhere.is_some_and(|at| now.monotonic.saturating_sub(at) <= patience)
    }
}

/// From when on data is missed; `None` while it is not.
fn start_of_waiting(rule: &Rule, observation: &Observation, last: Duration, now: &Now) -> Option<Duration> {
    if observation.excused {
        return None;
    }
    match now.hours {
        Hours::Unset | Hours::Closed if rule.missing.only_in_hours => None,
        Hours::Open { since } if rule.missing.only_in_hours => Some(last.max(since)),
        _ => Some(last),
    }
}
