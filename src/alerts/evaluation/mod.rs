//! From collected samples to incidents: which rules watch a series, what their states are, and what there is to tell.
//!
//! ```text
//! let mut pass = evaluator.begin(moment, Scope::All);
//! for family in collected {
//!     if let Some(watch) = pass.watch(family.name) {       // one look-up for a family; most are not watched
//!         for point in family.points {
//!             pass.observe(watch, &sample_of(point));      // no allocation where nothing changes
//!         }
//!     }
//! }
//! let outcome = pass.finish();
//! ```
//!
//! Everything is kept on a timeline of its own, which a restart continues where the last stored incident left it: time
//! between two processes counts for the duration that is shown and for nothing that is decided.

mod join;
mod outcome;
mod render;
mod sample;
mod series;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use join::StoredAlert;
pub use outcome::{Notice, OpenIncident, Outcome, RuleState, StoredIncident};
pub use sample::{LabelSet, Measured, Origin, Recorded, Sample};

use super::direct::{Deduplicator, DirectAlert, StoredWindow};
use super::event::{AlertSeverity, Event, EventKind, Reason};
use super::incident::{Hours, Limits, Now, Transition};
use super::message::in_words_unless_finite;
use super::rule::{Rule, RuleSet};
use super::silence::Silences;
use crate::settings::Settings;
use join::Waiting;
use series::Metric;

/// How long a rule's metric may take to appear before that is worth a line.
const APPEARANCE: Duration = Duration::from_mins(5);

/// The time of an evaluation, on this process' clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The monotonic reading.
    pub monotonic: Duration,
    /// The time of day, only ever shown.
    pub wall: Timestamp,
    /// Whether figures have to be fresh.
    pub hours: Hours,
}

impl Moment {
    /// A moment with no market hours set.
    pub fn new(monotonic: Duration, wall: Timestamp) -> Self {
        Self { monotonic, wall, hours: Hours::Unset }
    }
}

/// How much of the metrics a pass sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them: what is not there has vanished.
    All,
    /// Some: those whose change has woken the engine.
    Some,
}

/// What holds for all rules, from the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// For incidents.
    pub limits: Limits,
    /// Within which the same direct alert is sent once.
    pub duplicates: Duration,
    /// The interval of checks where a sample does not tell it: `monitoring.health_check_interval_seconds`.
    pub interval: Duration,
}

impl Tuning {
    /// What the settings say.
    pub fn new(settings: &Settings) -> Self {
        let alerts = &settings.alerts;
        Self {
            limits: Limits {
                flapping_changes: alerts.flapping.changes as usize,
                flapping_window: alerts.flapping.window,
                ..Limits::default()
            },
            duplicates: alerts.dedup_window,
            interval: settings.monitoring.health_check_interval,
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self::new(&Settings::default())
    }
}

/// Evaluates the rules in force. Reads no clock and does no I/O.
#[derive(Debug)]
pub struct Evaluator {
    tuning: Tuning,
    timeline: Timeline,
    metrics: Vec<Metric>,
    by_name: HashMap<String, usize>,
    silences: Silences,
    waiting: Waiting,
    direct: Deduplicator,
    sequence: u64,
    pass: u64,
}

/// A metric that a rule watches.
#[derive(Clone, Copy, Debug)]
pub struct Watch(usize);

/// One evaluation under way.
#[derive(Debug)]
#[must_use = "a pass ends with `finish`"]
pub struct Pass<'a> {
    evaluator: &'a mut Evaluator,
    now: Now,
    scope: Scope,
    outcome: Outcome,
}

/// From the process' monotonic clock to time that a restart does not set back.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    origin: Duration,
    offset: Duration,
}

impl Timeline {
    fn at(self, monotonic: Duration) -> Duration {
        monotonic.saturating_sub(self.origin).saturating_add(self.offset)
    }

    fn back(self, at: Duration) -> Duration {
        at.saturating_sub(self.offset).saturating_add(self.origin)
    }
}

impl Evaluator {
    /// An evaluator of `rules` that goes on with what an earlier process stored. `sequence` is where the numbers in
    /// ids begin: another one in each process. The events end incidents whose rule is no more.
    pub fn new(
        rules: &RuleSet,
        tuning: Tuning,
        sequence: u64,
        moment: Moment,
        stored: Vec<StoredIncident>,
    ) -> (Self, Vec<Event>) {
        let offset = stored.iter().map(|incident| incident.as_of).max().unwrap_or_default();
        let mut evaluator = Self {
            tuning,
            timeline: Timeline { origin: moment.monotonic, offset },
            metrics: Vec::new(),
            by_name: HashMap::new(),
            silences: Silences::default(),
            waiting: Waiting::default(),
            direct: Deduplicator::new(tuning.duplicates),
            sequence,
            pass: 0,
        };
        for rule in rules.iter() {
            evaluator.watch_rule(Arc::clone(rule));
        }
        let events = stored.into_iter().filter_map(|incident| evaluator.restore(incident, moment)).collect();
        (evaluator, events)
    }

    fn watch_rule(&mut self, rule: Arc<Rule>) {
        let index = *self.by_name.entry(rule.metric.clone()).or_insert_with(|| {
            self.metrics.push(Metric::default());
            self.metrics.len() - 1
        });
        self.metrics[index].watch(rule);
    }

    /// `Some` is the end of an incident whose rule is no more.
    fn restore(&mut self, stored: StoredIncident, moment: Moment) -> Option<Event> {
        let now = self.now(moment);
        let gap = moment.wall.duration_since(stored.wall).max(jiff::SignedDuration::ZERO).unsigned_abs();
        let mut known = stored.known;
        // Each process had a timeline of its own.
        known.state.restore(gap, self.timeline.offset.saturating_sub(stored.as_of));
        let metric = self.metrics.iter_mut().find(|metric| metric.has_rule(&stored.rule));
        let mut orphan = match metric {
            Some(metric) => metric.adopt(&stored.rule, &stored.labels, known)?,
            None => known,
        };
        let transition = orphan.state.end(Some(Reason::RuleRemoved), &now)?;
        let is_muted = orphan.tell(transition.kind, false);
        Some(render::orphan(&stored.rule, &stored.labels, transition, now.wall, is_muted))
    }

    /// Goes on with the windows of duplicates that an earlier process stored, by their keys.
    pub fn restore_windows(&mut self, stored: Vec<(String, StoredWindow)>, moment: Moment) {
        self.direct.restore(stored, self.timeline.at(moment.monotonic), moment.wall);
    }

    /// The windows of duplicates that have to be stored since the last call, by their keys; `None` removes.
    pub fn take_window_changes(&mut self) -> Vec<(String, Option<StoredWindow>)> {
        self.direct.take_changes()
    }

    /// The alerts that wait for their incidents to open, as they have to be stored since the last call, by their keys;
    /// `None` removes. See also [`Self::restore_waiting`].
    pub fn take_waiting_changes(&mut self) -> Vec<(String, Option<StoredAlert>)> {
        self.waiting.take_changes()
    }

    /// Begins an evaluation.
    pub fn begin(&mut self, moment: Moment, scope: Scope) -> Pass<'_> {
        self.pass += 1;
        let now = self.now(moment);
        Pass { evaluator: self, now, scope, outcome: Outcome::default() }
    }

    /// Replaces the silences. Those that have ended are told of what they muted in the next pass.
    pub fn set_silences(&mut self, silences: Silences) {
        self.silences = silences;
    }

    /// The silences, those that have just ended included.
    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    /// The metrics that some rule watches: what a collection has to hold.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The state of each rule.
    pub fn rule_states(&self) -> impl Iterator<Item = (&Rule, RuleState)> {
        self.metrics.iter().flat_map(Metric::rule_states)
    }

    /// The open incidents.
    pub fn open(&self, moment: Moment) -> impl Iterator<Item = OpenIncident<'_>> {
        let now = self.timeline.at(moment.monotonic);
        self.metrics.iter().flat_map(move |metric| metric.open(now))
    }

    /// The open incidents as they would be told now, for those who forget what is not repeated.
    pub fn restated(&self, moment: Moment) -> Vec<Event> {
        let restate = |open: OpenIncident<'_>| {
            let transition = Transition {
                kind: EventKind::Reminded,
                incident: open.incident.clone(),
                severity: open.incident.severity?,
                duration: open.duration,
                reason: open.incident.reason,
            };
            Some(render::event(open.rule, open.labels, transition, moment.wall, open.is_muted))
        };
        self.open(moment).filter_map(restate).collect()
    }

    /// How many incidents are open at each severity: info, warning, critical.
    pub fn open_by_severity(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for incident in self.metrics.iter().flat_map(|metric| metric.open(Duration::ZERO)) {
            counts[incident.incident.severity.unwrap_or(AlertSeverity::Info) as usize] += 1;
        }
        counts
    }

    /// The open incidents, to be stored: with each event, and now and then, since the next process' timeline begins
    /// where the youngest of them ends.
    pub fn stored(&self, moment: Moment) -> Vec<StoredIncident> {
        let as_of = self.timeline.at(moment.monotonic);
        self.metrics.iter().flat_map(|metric| metric.stored(as_of, moment.wall)).collect()
    }

    /// When there is something to say that no sample brings about, on the process' monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        [self.waiting.next_due(), self.direct.next_due()]
            .into_iter()
            .flatten()
            .min()
            .map(|at| self.timeline.back(at))
    }

    fn now(&mut self, moment: Moment) -> Now {
        let hours = match moment.hours {
            Hours::Open { since } => Hours::Open { since: self.timeline.at(since) },
            other => other,
        };
        let monotonic = self.timeline.at(moment.monotonic);
        Now { monotonic, wall: moment.wall, hours, sequence: self.next_sequence() }
    }

    /// The rules of other metrics by whose open incidents people know that what is recorded together with this series is
    /// missing.
    fn told_elsewhere(&self, watch: Watch, labels: &dyn LabelSet) -> Vec<Arc<Rule>> {
        if !self.metrics[watch.0].is_of_a_snapshot() {
            return Vec::new();
        }
        let others = self.metrics.iter().enumerate().filter(|(index, _)| *index != watch.0);
        let of_the_snapshot = others.filter(|(_, metric)| metric.is_of_a_snapshot());
        of_the_snapshot.flat_map(|(_, metric)| metric.telling_of_missing(labels)).collect()
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

impl Pass<'_> {
    /// The watch on a metric, by its name on the scrape; `None` where no rule wants it.
    pub fn watch(&self, metric: &str) -> Option<Watch> {
        self.evaluator.by_name.get(metric).copied().map(Watch)
    }

    /// Says that a metric could not be read: its rules are blind, and its series have not vanished.
    pub fn unreadable(&mut self, watch: Watch) {
        self.evaluator.metrics[watch.0].unreadable_in = self.evaluator.pass;
    }

    /// Takes one series of a watched metric.
    pub fn observe(&mut self, watch: Watch, sample: &Sample<'_>) {
        let told = self.evaluator.told_elsewhere(watch, sample.labels);
        let Evaluator { metrics, timeline, tuning, silences, waiting, sequence, pass, .. } =
            &mut *self.evaluator;
        let mut context = series::Context {
            now: &mut self.now,
            timeline: *timeline,
            tuning,
            silences,
            waiting,
            sequence,
            outcome: &mut self.outcome,
        };
        metrics[watch.0].observe(sample, told, *pass, &mut context);
    }

    /// Ends the evaluation.
    pub fn finish(mut self) -> Outcome {
        let Evaluator { metrics, timeline, tuning, silences, waiting, sequence, pass, .. } =
            &mut *self.evaluator;
        if self.scope == Scope::All {
            let mut context = series::Context {
                now: &mut self.now,
                timeline: *timeline,
                tuning,
                silences,
                waiting,
                sequence,
                outcome: &mut self.outcome,
            };
            for metric in metrics.iter_mut() {
                metric.close(*pass, &mut context);
            }
            silences.expire(self.now.wall);
        }
        let due = self.evaluator.due(self.now.monotonic, self.now.wall);
        self.outcome.events.extend(due);
        self.outcome
    }
}

impl Evaluator {
    /// Takes an alert that the service sends by itself: what there is to tell now. See also
    /// [`Self::next_deadline`].
    pub fn direct(&mut self, mut alert: DirectAlert, moment: Moment) -> Vec<Event> {
        in_words_unless_finite(&mut alert.metadata);
        let now = self.now(moment);
        let mut events = self.join(alert, &now);
        events.extend(self.due(now.monotonic, now.wall));
        events
    }

    /// Everything that is still held back: before a shutdown.
    pub fn drain(&mut self, moment: Moment) -> Vec<Event> {
        let now = self.now(moment);
        let mut events = Vec::new();
        for alert in self.waiting.take_all() {
            events.extend(self.admit_alone(alert, now.monotonic, now.wall));
        }
        let mut sequence = self.sequence;
        events.extend(self.direct.drain(now.wall, || {
            sequence = sequence.wrapping_add(1);
            sequence
        }));
        self.sequence = sequence;
        events
    }
}
