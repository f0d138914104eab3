//! The watched series of one metric, found by their labels, each with its state for each rule.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::join::Waiting;
use super::outcome::Known;
use super::sample::{LabelSet, Measured, Origin, Recorded, Sample};
use super::window::Window;
use super::{APPEARANCE, Notice, OpenIncident, Outcome, RuleState, StoredIncident, Timeline, Tuning, render};
use crate::alerts::event::{AlertSeverity, EventKind};
use crate::alerts::incident::{Joined, Now, Observation, Reading, Transition};
use crate::alerts::rule::{MissingPolicy, Rule, all_match};
use crate::alerts::silence::Silences;

/// The attribute that the SDK gives to the series that holds what is over its limit.
const OVERFLOW: &str = "otel.metric.overflow";

/// A metric that rules watch.
#[derive(Debug, Default)]
pub(super) struct Metric {
    rules: Vec<Watched>,
    /// By the hash of the labels; where two sets have one hash, the later one stands at the next free number.
    series: HashMap<u64, Series, BuildHasherDefault<Hashed>>,
    /// Where the series of the last pass stand, in the order in which they came: collections keep it.
    order: Vec<u64>,
    /// How many the pass has seen so far.
    next: usize,
    /// The last pass in which it could not be read.
    pub(super) unreadable_in: u64,
    /// The last pass in which it was looked at.
    looked_at_in: u64,
    has_appeared: bool,
    first_pass_at: Option<Duration>,
    is_of_a_snapshot: bool,
}

#[derive(Debug)]
struct Watched {
    rule: Arc<Rule>,
    is_partly_blind: bool,
    has_told_absence: bool,
}

#[derive(Debug)]
struct Series {
    /// Sorted by name.
    labels: Vec<(String, String)>,
    /// Of the rules that want it.
    watches: Vec<Watching>,
    /// The last pass that it was in.
    seen_in: u64,
}

#[derive(Debug)]
struct Watching {
    rule: usize,
    known: Known,
    /// Milder incidents of the same series that other processes had open: they end with this one.
    others: Vec<Known>,
    window: Option<Window>,
}

/// A series with an open incident.
pub(super) struct OpenSeries<'a> {
    pub(super) labels: &'a [(String, String)],
    pub(super) known: &'a mut Known,
}

/// What a step needs besides the series.
pub(super) struct Context<'a> {
    pub(super) now: &'a mut Now,
    pub(super) timeline: Timeline,
    pub(super) tuning: &'a Tuning,
    pub(super) silences: &'a Silences,
    pub(super) waiting: &'a mut Waiting,
    pub(super) sequence: &'a mut u64,
    pub(super) outcome: &'a mut Outcome,
}

impl Metric {
    pub(super) fn watch(&mut self, rule: Arc<Rule>) {
        self.is_of_a_snapshot = render::is_of_a_snapshot(&rule.metric);
        self.rules.push(Watched { rule, is_partly_blind: false, has_told_absence: false });
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter().map(|watched| &watched.rule)
    }

    /// Whether it is recorded with others in one call, so that all of them are missing or none.
    pub(super) fn is_of_a_snapshot(&self) -> bool {
        self.is_of_a_snapshot
    }

    /// The rules by whose open incidents people know that this series is missing.
    pub(super) fn telling_of_missing(&self, labels: &dyn LabelSet) -> impl Iterator<Item = Arc<Rule>> {
        let watches = self.place(labels).1.into_iter().flat_map(|series| &series.watches);
        let telling = watches.filter(|watching| watching.tells_of_missing());
        telling.map(|watching| Arc::clone(&self.rules[watching.rule].rule))
    }

    pub(super) fn has_rule(&self, name: &str) -> bool {
        self.rules().any(|rule| rule.name == name)
    }

    /// Takes over a stored state; gives it back where the rule no longer wants the series. Where two processes had an
    /// incident of it, the graver goes on.
    pub(super) fn adopt(
        &mut self,
        rule: &str,
        labels: &[(String, String)],
        mut known: Known,
    ) -> Option<Known> {
        let slot = self.slot(labels);
        let watching = self.series.get_mut(&slot).and_then(|series| {
            series.watches.iter_mut().find(|watching| self.rules[watching.rule].rule.name == rule)
        });
        let Some(watching) = watching else { return Some(known) };
        if known.gravity() > watching.known.gravity() {
            std::mem::swap(&mut known, &mut watching.known);
        }
        if known.state.incident().is_some() {
            watching.others.push(known);
        }
        None
    }

    /// `told` are rules of other metrics that tell already that the series is missing.
    pub(super) fn observe(
        &mut self,
        sample: &Sample<'_>,
        mut told: Vec<Arc<Rule>>,
        pass: u64,
        context: &mut Context<'_>,
    ) {
        if self.looked_at_in != pass {
            self.looked_at_in = pass;
            self.next = 0;
        }
        self.has_appeared = true;
        let slot = self.next_slot(sample.labels, context.outcome);
        let Some(slot) = slot else { return };
        let Some(series) = self.series.get_mut(&slot) else { return };
        series.seen_in = pass;
        series.step(&self.rules, &mut told, sample.origin, context, |rule, watching, context| {
            observation(rule, sample, watching, context)
        });
    }

    /// Series that the pass did not see have vanished.
    pub(super) fn close(&mut self, pass: u64, context: &mut Context<'_>) {
        let started = *self.first_pass_at.get_or_insert(context.now.monotonic);
        if self.unreadable_in == pass {
            return;
        }
        self.looked_at_in = pass;
        if !self.has_appeared && context.now.monotonic.saturating_sub(started) >= APPEARANCE {
            for watched in self.rules.iter_mut().filter(|watched| !watched.has_told_absence) {
                watched.has_told_absence = true;
                let (rule, metric) = (watched.rule.name.clone(), watched.rule.metric.clone());
                context.outcome.notices.push(Notice::NeverAppeared { rule, metric });
            }
        }
        let rules = &self.rules;
        self.series.retain(|_, series| {
            if series.seen_in == pass {
                return true;
            }
            series.step(rules, &mut Vec::new(), None, context, |_, watching, context| {
                let reading = if watching.known.state.is_seen() { Reading::Absent } else { Reading::Never };
                Observation { interval: context.tuning.interval, ..Observation::of(reading) }
            });
            series.watches.iter().any(|watching| {
                let alerts = rules[watching.rule].rule.missing.policy == MissingPolicy::Alert;
                alerts || !watching.known.state.is_at_rest()
            })
        });
    }

    fn fold(&mut self, outcome: &mut Outcome) {
        for watched in self.rules.iter_mut().filter(|watched| !watched.is_partly_blind) {
            watched.is_partly_blind = true;
            let (rule, metric) = (watched.rule.name.clone(), watched.rule.metric.clone());
            outcome.notices.push(Notice::PartlyBlind { rule, metric });
        }
    }

    /// Where the next series of the pass stands; `None` where it stands for those that the SDK has no room for.
    fn next_slot(&mut self, labels: &dyn LabelSet, outcome: &mut Outcome) -> Option<u64> {
        let last = self.order.get(self.next).copied();
        let slot = match last.filter(|slot| self.series.get(slot).is_some_and(|series| series.has(labels))) {
            Some(slot) => slot,
            None if is_overflow(labels) => {
                self.fold(outcome);
                return None;
            }
            None => {
                let slot = self.slot(labels);
                self.order.truncate(self.next);
                self.order.push(slot);
                slot
            }
        };
        self.next += 1;
        Some(slot)
    }

    /// Where the series with these labels stands, or the free place for it.
    fn place(&self, labels: &(impl LabelSet + ?Sized)) -> (u64, Option<&Series>) {
        let mut slot = hash(labels);
        loop {
            match self.series.get(&slot) {
                Some(series) if !series.has(labels) => slot = slot.wrapping_add(1),
                found => return (slot, found),
            }
        }
    }

    /// Where the series with these labels stands; it is there afterwards.
    fn slot(&mut self, labels: &(impl LabelSet + ?Sized)) -> u64 {
        let (slot, found) = self.place(labels);
        if found.is_some() {
            return slot;
        }
        let mut owned = Vec::new();
        labels.visit(&mut |name, value| owned.push((name.to_owned(), value.to_owned())));
        owned.sort();
        let wanted =
            self.rules.iter().enumerate().filter(|(_, watched)| all_match(&watched.rule.matchers, &owned));
        let watches = wanted
            .map(|(index, watched)| Watching {
                rule: index,
                known: Known::default(),
                others: Vec::new(),
                window: Window::new(watched.rule.sampling),
            })
            .collect();
        self.series.insert(slot, Series { labels: owned, watches, seen_in: 0 });
        slot
    }

    /// The open incident of a rule whose labels `accept` likes.
    pub(super) fn open_series(
        &mut self,
        rule: &str,
        accept: impl Fn(&[(String, String)]) -> bool,
    ) -> Option<OpenSeries<'_>> {
        let rules = &self.rules;
        self.series.values_mut().filter(|series| accept(&series.labels)).find_map(|series| {
            let watching = series.watches.iter_mut().find(|watching| {
                rules[watching.rule].rule.name == rule && watching.known.state.severity().is_some()
            })?;
            Some(OpenSeries { labels: &series.labels, known: &mut watching.known })
        })
    }

    pub(super) fn rule_states(&self) -> impl Iterator<Item = (&Rule, RuleState)> {
        let mut states: Vec<(i8, bool)> = vec![(0, false); self.rules.len()];
        let is_unreadable = self.unreadable_in > 0 && self.unreadable_in >= self.looked_at_in;
        for watching in self.series.values().flat_map(|series| &series.watches) {
            let (value, has_series) = &mut states[watching.rule];
            *has_series = true;
            *value = worse(*value, watching.value(is_unreadable));
        }
        self.rules.iter().zip(states).map(|(watched, (value, has_series))| {
            let value = if has_series { value } else { -1 };
            (&*watched.rule, RuleState { value, is_partly_blind: watched.is_partly_blind })
        })
    }

    pub(super) fn open(&self, now: Duration) -> impl Iterator<Item = OpenIncident<'_>> {
        self.watches().filter_map(move |(rule, series, watching)| {
            let incident = watching.known.state.incident()?;
            Some(OpenIncident {
                rule,
                labels: &series.labels,
                incident,
                duration: incident.duration(now),
                is_muted: watching.known.is_muted,
                is_blind: watching.known.state.is_blind(),
            })
        })
    }

    pub(super) fn stored(&self, as_of: Duration, wall: Timestamp) -> impl Iterator<Item = StoredIncident> {
        let known = self.watches().flat_map(|(rule, series, watching)| {
            let all = std::iter::once(&watching.known).chain(&watching.others);
            all.map(move |known| (rule, series, known))
        });
        known.filter(|(_, _, known)| known.state.incident().is_some()).map(move |(rule, series, known)| {
            let (rule, labels) = (rule.name.clone(), series.labels.clone());
            StoredIncident { rule, labels, known: known.clone(), as_of, wall }
        })
    }

    fn watches(&self) -> impl Iterator<Item = (&Rule, &Series, &Watching)> {
        self.series.values().flat_map(move |series| {
            series.watches.iter().map(move |watching| (&*self.rules[watching.rule].rule, series, watching))
        })
    }
}

impl Series {
    /// Whether these are its labels.
    fn has(&self, labels: &(impl LabelSet + ?Sized)) -> bool {
        let (mut count, mut is_equal) = (0, true);
        labels.visit(&mut |name, value| {
            count += 1;
            is_equal = is_equal && self.labels.iter().any(|own| own.0 == name && own.1 == value);
        });
        is_equal && count == self.labels.len()
    }

    /// Steps for each of its rules. Those in `told` tell already that the data is missing; whoever tells it now is added.
    fn step(
        &mut self,
        rules: &[Watched],
        told: &mut Vec<Arc<Rule>>,
        origin: Option<&Origin>,
        context: &mut Context<'_>,
        observe: impl Fn(&Rule, &mut Watching, &Context<'_>) -> Observation,
    ) {
        let telling = self.watches.iter().filter(|watching| watching.tells_of_missing());
        told.extend(telling.map(|watching| Arc::clone(&rules[watching.rule].rule)));
        for watching in &mut self.watches {
            let rule = &rules[watching.rule].rule;
            let mut observation = observe(rule, watching, context);
            observation.told_elsewhere = told.iter().any(|other| speaks_for(other, rule));
            let told_before = watching.tells_of_missing();
            watching.step(rule, &self.labels, &observation, origin, context);
            if watching.tells_of_missing() && !told_before {
                told.push(Arc::clone(rule));
            }
        }
    }
}

/// Whether who hears of missing data from the one rule needs not hear it from the other, too.
fn speaks_for(one: &Rule, other: &Rule) -> bool {
    one.name != other.name && one.missing.severity >= other.missing.severity && one.channels == other.channels
}

impl Watching {
    /// Whether people know from its incident that its data is missing.
    fn tells_of_missing(&self) -> bool {
        !self.known.is_muted && self.known.state.tells_of_missing()
    }

    fn step(
        &mut self,
        rule: &Rule,
        labels: &[(String, String)],
        observation: &Observation,
        origin: Option<&Origin>,
        context: &mut Context<'_>,
    ) {
        let transitions = self.known.state.step(rule, &context.tuning.limits, observation, context.now);
        if transitions.is_empty() && !self.known.is_muted {
            return;
        }
        self.tell(rule, labels, transitions, origin, context);
    }

    fn tell(
        &mut self,
        rule: &Rule,
        labels: &[(String, String)],
        mut transitions: Vec<Transition>,
        origin: Option<&Origin>,
        context: &mut Context<'_>,
    ) {
        let wall = context.now.wall;
        let is_muted = context.silences.mute(rule, labels, wall);
        if transitions.is_empty() && !is_muted {
            // The silence is over and nobody knows what it muted.
            self.known.is_muted = false;
            transitions.extend(self.known.state.retell(context.now));
        }
        let opened = transitions.iter().find(|transition| transition.kind == EventKind::Opened);
        if let Some(severity) = opened.map(|transition| transition.severity) {
            *context.sequence = context.sequence.wrapping_add(1);
            context.now.sequence = *context.sequence;
            let joined = context.waiting.claim(rule, labels, severity, is_muted);
            self.introduce(&mut transitions, joined.as_ref(), origin);
        }
        self.explain(&mut transitions, origin);
        for transition in transitions {
            if transition.kind == EventKind::Resolved {
                self.end_others(rule, labels, &transition, is_muted, context);
            }
            let is_muted = self.known.tell(transition.kind, is_muted);
            let event = render::event(rule, labels, transition, wall, is_muted);
            if let Some(incident) = self.known.state.incident_mut() {
                incident.title = Some(event.title.clone());
            }
            context.outcome.events.push(event);
        }
    }

    /// Ends the incidents that other processes had of the same series, with the `end` of its own.
    fn end_others(
        &mut self,
        rule: &Rule,
        labels: &[(String, String)],
        end: &Transition,
        is_silenced: bool,
        context: &mut Context<'_>,
    ) {
        for mut other in self.others.drain(..) {
            if let Some(incident) = other.state.incident_mut() {
                incident.value = end.incident.value;
            }
            if let Some(transition) = other.state.end(end.reason, context.now) {
                let is_muted = other.tell(transition.kind, is_silenced);
                let event = render::event(rule, labels, transition, context.now.wall, is_muted);
                context.outcome.events.push(event);
            }
        }
    }

    /// Gives a new incident what is known of its origin.
    fn introduce(
        &mut self,
        transitions: &mut [Transition],
        joined: Option<&Joined>,
        origin: Option<&Origin>,
    ) {
        let incidents = transitions.iter_mut().map(|transition| &mut transition.incident);
        for incident in incidents.chain(self.known.state.incident_mut()) {
            incident.joined = joined.cloned();
            incident.order_id = origin.and_then(|origin| origin.order_id.clone());
            incident.trace_id = origin.and_then(|origin| origin.trace_id.clone());
        }
    }

    /// Gives what is told of a value the error behind it. Where data is missing the last error is none of its reasons.
    fn explain(&mut self, transitions: &mut [Transition], origin: Option<&Origin>) {
        let Some(error) = origin.and_then(|origin| origin.last_error.as_ref()) else { return };
        if transitions.iter().any(|transition| transition.reason.is_some()) {
            return;
        }
        let incidents = transitions.iter_mut().map(|transition| &mut transition.incident);
        for incident in incidents.chain(self.known.state.incident_mut()) {
            incident.last_error = Some(error.clone());
        }
    }

    fn value(&self, is_unreadable: bool) -> i8 {
        match self.known.state.severity() {
            Some(AlertSeverity::Critical) if self.known.state.is_seen() => 2,
            Some(AlertSeverity::Warning) if self.known.state.is_seen() => 1,
            _ if is_unreadable || self.known.state.is_blind() => -1,
            _ => 0,
        }
    }
}

/// Bad beats blind beats normal.
fn worse(a: i8, b: i8) -> i8 {
    if a > 0 || b > 0 { a.max(b) } else { a.min(b) }
}

fn observation(
    rule: &Rule,
    sample: &Sample<'_>,
    watching: &mut Watching,
    context: &Context<'_>,
) -> Observation {
    let now = context.now.monotonic;
    let at = match sample.recorded {
        Recorded::At(at) => Some(context.timeline.at(at).min(now)),
        Recorded::Unknown => Some(now),
        Recorded::Never | Recorded::Refused => None,
    };
    let reading = match (at, watching.window.as_mut()) {
        (None, _) if sample.recorded == Recorded::Never => Reading::Never,
        (None, _) => Reading::Invalid,
        (Some(at), Some(window)) => {
            window.push(&sample.measured, now);
            through(window, rule, watching.known.state.level(), &sample.measured, at, now)
        }
        (Some(at), None) => match sample.measured {
            Measured::Gauge { last, worst } => Reading::Value { last, worst: worst.unwrap_or(last), at },
            // A rule on a gauge that turns out to be something else.
            _ => Reading::Absent,
        },
    };
    Observation {
        reading,
        reported: sample.reported,
        excused: sample.excused,
        interval: sample.interval.unwrap_or(context.tuning.interval),
        told_elsewhere: false,
    }
}

fn through(
    window: &Window,
    rule: &Rule,
    reached: Option<AlertSeverity>,
    measured: &Measured<'_>,
    at: Duration,
    now: Duration,
) -> Reading {
    let bounds = if let Measured::Histogram { bounds, .. } = measured { *bounds } else { &[] };
    let value = window.value(bounds);
    // What has not been watched for a whole window is too small for a reason of its own: it opens nothing that is about
    // small values, and ends nothing that an earlier process saw grow.
    let falls_short = |value| {
        let level = reached.and_then(|severity| rule.level(severity));
        rule.sampling.is_of_a_sum() && level.is_some_and(|level| !rule.comparison.holds(value, level.level))
    };
    let is_too_small = !rule.comparison.is_upward() || value.is_some_and(falls_short);
    if is_too_small && !window.is_full(now) {
        return Reading::Never;
    }
    value.map_or(Reading::Absent, |value| Reading::Value { last: value, worst: value, at })
}

fn is_overflow(labels: &dyn LabelSet) -> bool {
    let mut is_overflow = false;
    labels.visit(&mut |name, value| is_overflow |= name == OVERFLOW && value == "true");
    is_overflow
}

/// The same in any order of the labels, so that nothing has to be sorted.
fn hash(labels: &(impl LabelSet + ?Sized)) -> u64 {
    let mut sum = 0_u64;
    labels.visit(&mut |name, value| {
        let bytes = name.bytes().chain([0xff]).chain(value.bytes());
        // FNV-1a; equal hashes are told apart by the labels themselves.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        sum = sum.wrapping_add(hash);
    });
    sum
}

/// A key that is a hash already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
