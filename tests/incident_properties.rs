//! What holds for every incident whatever the values are and whenever they come.
#![expect(clippy::expect_used, reason = "a test fails by it")]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use trading_telemetry::alerts::event::{AlertSeverity, EventKind, Reason};
use trading_telemetry::alerts::incident::{
    Hours, Limits, Now, Observation, Reading, State, Transition, step,
};
use trading_telemetry::alerts::rule::{Rule, RuleSet};

const NEVER_FLAPPING: Limits = Limits {
    flapping_changes: usize::MAX,
    flapping_window: Duration::from_mins(10),
    flapping_calm: Duration::from_mins(5),
    invalid_after: Duration::from_mins(1),
};

fn rule(text: &str) -> Rule {
    let text = format!("metrics: {{m: {{type: gauge}}}}\nrules:\n  mine:\n    metric: m\n{text}");
    let rules = RuleSet::load(Some(("test.yaml", &text))).into_result().expect("well formed");
    Rule::clone(rules.get("mine").expect("it is there"))
}

/// Both directions, strict and not, with and without times and an info level.
fn rules() -> Vec<Rule> {
    [
        "    when: above\n    warning: {level: 5, recovers: 4}\n    critical: {level: 8, recovers: 7}\n",
        "    when: below\n    warning: {level: -5, recovers: -4}\n    critical: {level: -8, recovers: -7}\n",
        "    when: at least\n    warning: 2\n    critical: 3\n    missing: resolve\n",
        "    when: above\n    info: {level: 2, recovers: 1}\n    warning: {level: 5, for: 10s, keep_firing_for: 20s}\n    critical: {level: 8, for: 5s}\n    missing: {then: alert, after: 30s}\n",
        "    when: at most\n    critical: {level: 1, for: 2s, keep_firing_for: 5s}\n    trust_reports: true\n    missing: {then: alert, after: 3 intervals, only_in_hours: true}\n",
    ]
    .into_iter()
    .map(rule)
    .collect()
}

#[derive(Clone, Debug)]
struct Input {
    after: u64,
    reading: Kind,
    reported: bool,
    excused: bool,
    told_elsewhere: bool,
    hours: u8,
    jump: i64,
}

#[derive(Clone, Debug)]
enum Kind {
    Never,
    Absent,
    Invalid,
    Value(f64),
    Latched(f64, f64),
    Old(f64, u64),
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-20_i32..20).prop_map(|half| f64::from(half) / 2.0),
        1 => proptest::sample::select(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -0.0][..]),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let reading = prop_oneof![
        1 => Just(Kind::Never),
        1 => Just(Kind::Absent),
        1 => Just(Kind::Invalid),
        10 => value().prop_map(Kind::Value),
        2 => (value(), value()).prop_map(|(last, worst)| Kind::Latched(last, worst)),
        2 => (value(), 0_u64..300).prop_map(|(last, age)| Kind::Old(last, age)),
    ];
    let after = prop_oneof![6 => 0_u64..30, 1 => 0_u64..5_000];
    let (rarely, often) = (proptest::bool::weighted(0.1), proptest::bool::weighted(0.3));
    (after, reading, any::<bool>(), rarely, often, 0_u8..3, -3_600_i64..3_600).prop_map(
        |(after, reading, reported, excused, told_elsewhere, hours, jump)| Input {
            after,
            reading,
            reported,
            excused,
            told_elsewhere,
            hours,
            jump,
        },
    )
}

struct Run<'a> {
    rule: &'a Rule,
    limits: Limits,
    state: State,
    second: u64,
    sequence: u64,
}

impl<'a> Run<'a> {
    fn new(rule: &'a Rule, limits: Limits) -> Self {
        Self { rule, limits, state: State::default(), second: 10_000, sequence: 0 }
    }

    fn step(&mut self, input: &Input, jumps: bool) -> Vec<Transition> {
        self.second += input.after;
        self.sequence += 1;
        let monotonic = Duration::from_secs(self.second);
        let jump = if jumps { input.jump } else { 0 };
        let hours = match input.hours {
            0 => Hours::Unset,
            1 => Hours::Closed,
            _ => Hours::Open { since: Duration::from_secs(10_000) },
        };
        let reading = match input.reading {
            Kind::Never => Reading::Never,
            Kind::Absent => Reading::Absent,
            Kind::Invalid => Reading::Invalid,
            Kind::Value(value) => Reading::Value { last: value, worst: value, at: monotonic },
            Kind::Latched(last, worst) => Reading::Value { last, worst, at: monotonic },
            Kind::Old(last, age) => {
                let at = monotonic.saturating_sub(Duration::from_secs(age));
                Reading::Value { last, worst: last, at }
            }
        };
        let wall = Timestamp::UNIX_EPOCH
            + SignedDuration::from_secs(1_000_000_000 + self.second.cast_signed() + jump);
        let now = Now { monotonic, wall, hours, sequence: self.sequence };
        let observation = Observation {
            reading,
            reported: input.reported,
            excused: input.excused,
            interval: Duration::from_secs(20),
            told_elsewhere: input.told_elsewhere,
        };
        let (state, transitions) =
            step(self.rule, &self.limits, std::mem::take(&mut self.state), &observation, &now);
        self.state = state;
        transitions
    }

    fn value(&mut self, after: u64, value: f64) -> Vec<(EventKind, AlertSeverity)> {
        let input = Input {
            after,
            reading: Kind::Value(value),
            reported: false,
            excused: false,
            told_elsewhere: false,
            hours: 0,
            jump: 0,
        };
        self.step(&input, false).iter().map(|told| (told.kind, told.severity)).collect()
    }
}

/// What a person who reads every message believes.
#[derive(Default)]
struct Reader {
    open: Option<(String, AlertSeverity)>,
    ended: Vec<String>,
}

impl Reader {
    fn read(&mut self, told: &Transition) {
        let id = &told.incident.id;
        assert!(!self.ended.contains(id), "{:?} after the end of {id}", told.kind);
        match (&self.open, told.kind) {
            (None, EventKind::Opened) => {}
            (None, kind) => panic!("{kind:?} without an opened incident"),
            (Some(_), EventKind::Opened) => panic!("opened twice"),
            (Some((open, believed)), kind) => {
                assert_eq!(open, id, "one id for its life");
                match kind {
                    EventKind::Escalated => {
                        assert!(told.severity > *believed, "{believed} to {}", told.severity);
                    }
                    EventKind::DeEscalated => assert!(told.severity < *believed),
                    _ => {}
                }
            }
        }
        assert!(told.incident.worst_severity >= told.severity);
        assert!([told.incident.value, told.incident.worst].into_iter().flatten().all(f64::is_finite));
        if told.kind == EventKind::Resolved {
            self.ended.push(id.clone());
            self.open = None;
        } else {
            self.open = Some((id.clone(), told.severity));
        }
    }

    fn severity(&self) -> Option<AlertSeverity> {
        self.open.as_ref().map(|(_, severity)| *severity)
    }
}

#[test]
fn a_value_that_is_told_takes_no_silence_over_from_another_incident() {
    for rule in rules() {
        let mut run = Run::new(&rule, NEVER_FLAPPING);
        run.step(
            &Input {
                after: 0,
                reading: Kind::Value(0.0),
                reported: false,
                excused: false,
                told_elsewhere: true,
                hours: 0,
                jump: 0,
            },
            false,
        );
        run.step(
            &Input {
                after: 0,
                reading: Kind::Old(2.5, 30),
                reported: false,
                excused: false,
                told_elsewhere: true,
                hours: 0,
                jump: 0,
            },
            false,
        );
        let before = run.state.severity();
        assert_eq!(run.value(10, f64::NAN), [], "{rule:?}");
        assert_eq!(run.state.severity(), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_told_is_a_story_and_ends_at_the_truth(inputs in proptest::collection::vec(input(), 1..120), flaps: bool) {
        for rule in rules() {
            let limits = if flaps { Limits::default() } else { NEVER_FLAPPING };
            let mut run = Run::new(&rule, limits);
            let mut reader = Reader::default();
            for input in &inputs {
                for told in run.step(input, true) {
                    reader.read(&told);
                }
                if !flaps {
                    prop_assert_eq!(reader.severity(), run.state.severity(), "the last state told is the true one");
                }
                if run.state.severity() == Some(AlertSeverity::Critical) {
                    prop_assert_eq!(reader.severity(), Some(AlertSeverity::Critical), "critical is never held back");
                }
            }
            // Whatever flapped comes to rest.
            let rest = Input { after: 3_600, reading: Kind::Never, reported: false, excused: true, told_elsewhere: false, hours: 1, jump: 0 };
            for _ in 0..3 {
                let same = Input { reading: Kind::Invalid, ..rest.clone() };
                for told in run.step(&same, true) {
                    reader.read(&told);
                }
            }
            prop_assert_eq!(reader.severity(), run.state.severity());
        }
    }

    #[test]
    fn the_wall_clock_decides_nothing(inputs in proptest::collection::vec(input(), 1..80)) {
        for rule in rules() {
            let (mut steady, mut jumping) = (Run::new(&rule, Limits::default()), Run::new(&rule, Limits::default()));
            for input in &inputs {
                let kinds = |told: Vec<Transition>| told.iter().map(|t| (t.kind, t.severity, t.duration, t.reason)).collect::<Vec<_>>();
                prop_assert_eq!(kinds(steady.step(input, false)), kinds(jumping.step(input, true)));
            }
        }
    }

    #[test]
    fn noise_inside_the_dead_band_makes_at_most_one_message(
        start in 4.01_f64..8.0,
        values in proptest::collection::vec(4.01_f64..=5.0, 1..100),
    ) {
        let rule = &rules()[0];
        let mut run = Run::new(rule, Limits::default());
        let mut told = run.value(1, start).len();
        for value in values {
            told += run.value(1, value).len();
        }
        prop_assert!(told <= 1);
    }

    #[test]
    fn with_no_times_the_levels_are_the_last_bound_crossed(values in proptest::collection::vec(-20_i32..40, 1..100)) {
        let rule = &rules()[0];
        let mut run = Run::new(rule, NEVER_FLAPPING);
        let (mut warning, mut critical) = (false, false);
        for half in values {
            let value = f64::from(half) / 2.0;
            run.value(1, value);
            warning = value > 5.0 || (warning && value > 4.0);
            critical = value > 8.0 || (critical && value > 7.0);
            let expected = match (warning, critical) {
                (_, true) => Some(AlertSeverity::Critical),
                (true, _) => Some(AlertSeverity::Warning),
                _ => None,
            };
            prop_assert_eq!(run.state.severity(), expected, "at {}", value);
        }
    }

    #[test]
    fn nan_and_infinity_open_and_resolve_nothing(
        inputs in proptest::collection::vec(input(), 1..60),
        bad in proptest::sample::select(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY][..]),
    ) {
        for rule in rules() {
            let mut run = Run::new(&rule, NEVER_FLAPPING);
            for input in &inputs {
                run.step(input, false);
            }
            let before = run.state.severity();
            for _ in 0..20 {
                let told = run.value(10, bad);
                prop_assert!(told.iter().all(|(kind, _)| *kind == EventKind::Reminded), "{:?}", told);
            }
            prop_assert_eq!(run.state.severity(), before);
        }
    }

    #[test]
    fn a_state_survives_storing(inputs in proptest::collection::vec(input(), 1..60), more in proptest::collection::vec(input(), 1..20)) {
        for rule in rules() {
            let mut run = Run::new(&rule, Limits::default());
            for input in &inputs {
                run.step(input, false);
            }
            let stored = serde_json::to_string(&run.state).expect("it serialises");
            let state: State = serde_json::from_str(&stored).expect("it reads back");
            prop_assert_eq!(state.incident(), run.state.incident());
            let mut again = Run { rule: &rule, limits: run.limits, state, second: run.second, sequence: run.sequence };
            for input in &more {
                let (a, b) = (run.step(input, false), again.step(input, false));
                let kinds = |told: &[Transition]| told.iter().map(|t| (t.kind, t.severity)).collect::<Vec<_>>();
                prop_assert_eq!(kinds(&a), kinds(&b));
            }
        }
    }
}

#[test]
fn a_series_that_flaps_is_told_once_and_then_when_it_settles() {
    use AlertSeverity::{Critical, Warning};
    use EventKind::{DeEscalated, Escalated, Flapping, Opened, Resolved, Settled};
    let rule = rule("    when: above\n    warning: 5\n    critical: 8\n");
    let mut run = Run::new(&rule, Limits::default());
    let mut told = Vec::new();
    for _ in 0..20 {
        told.extend(run.value(10, 6.0));
        told.extend(run.value(10, 1.0));
    }
    let mut expected: Vec<_> = [Opened, Resolved].repeat(3);
    expected.extend([Opened, Flapping]);
    assert_eq!(told, expected.iter().map(|kind| (*kind, Warning)).collect::<Vec<_>>());

    assert_eq!(run.value(10, 9.0), [(Escalated, Critical)], "never held back");
    assert_eq!(run.value(10, 6.0), [], "quiet");
    assert_eq!(run.value(10, 9.0), [], "known to be critical");
    assert_eq!(run.value(10, 6.0), []);
    assert_eq!(run.value(299, 6.0), []);
    assert_eq!(run.value(1, 6.0), [(Settled, Warning)]);
    assert_eq!(run.value(1, 9.0), [(Escalated, Critical)], "and the count begins anew");
    assert_eq!(run.value(1, 6.0), [(DeEscalated, Warning)]);
    assert_eq!(run.value(1, 1.0), [(Resolved, Warning)]);
}

#[test]
fn six_changes_in_ten_minutes_are_not_flapping() {
    let rule = rule("    when: above\n    warning: 5\n");
    let mut run = Run::new(&rule, Limits::default());
    for _ in 0..50 {
        assert_eq!(run.value(100, 6.0).len() + run.value(100, 1.0).len(), 2);
    }
}

#[test]
fn a_higher_level_carries_the_lower_one_along() {
    let rule = rule("    when: above\n    warning: {level: 5, for: 60s}\n    critical: 8\n");
    let mut run = Run::new(&rule, Limits::default());
    assert_eq!(run.value(1, 9.0), [(EventKind::Opened, AlertSeverity::Critical)]);
    assert_eq!(run.value(1, 6.0), [(EventKind::DeEscalated, AlertSeverity::Warning)], "it is still beyond 5");
}

#[test]
fn reminders_come_at_their_interval_on_the_monotonic_clock() {
    let rule = rule("    when: above\n    info: 1\n    warning: 5\n    critical: 8\n");
    let mut run = Run::new(&rule, Limits::default());
    run.value(1, 9.0);
    assert_eq!(run.value(1_799, 9.0), []);
    assert_eq!(run.value(1, 9.0), [(EventKind::Reminded, AlertSeverity::Critical)]);
    run.value(1, 6.0);
    assert_eq!(run.value(14_399, 6.0), []);
    assert_eq!(run.value(1, 6.0), [(EventKind::Reminded, AlertSeverity::Warning)]);
    run.value(1, 2.0);
    assert_eq!(run.value(1_000_000, 2.0), [], "info never");
}

#[test]
fn nan_does_not_count_as_false() {
    let rule = rule("    when: above\n    warning: {level: 5, for: 10s, keep_firing_for: 10s}\n");
    let mut run = Run::new(&rule, Limits::default());
    assert_eq!(run.value(1, 6.0), []);
    assert_eq!(run.value(5, f64::NAN), []);
    assert_eq!(run.value(5, 6.0), [(EventKind::Opened, AlertSeverity::Warning)]);
    assert_eq!(run.value(1, 1.0), []);
    assert_eq!(run.value(20, f64::NAN), [], "nor does it resolve");
    assert_eq!(run.value(1, 1.0), [(EventKind::Resolved, AlertSeverity::Warning)]);
}

#[test]
fn nan_that_stays_is_the_reason_of_an_open_incident() {
    let rule = rule("    when: above\n    warning: 5\n");
    let mut run = Run::new(&rule, Limits::default());
    run.value(1, 6.0);
    let reason = |run: &Run<'_>| run.state.incident().and_then(|incident| incident.reason);
    run.value(1, f64::NAN);
    run.value(59, f64::INFINITY);
    assert_eq!(reason(&run), None);
    run.value(1, f64::NAN);
    assert_eq!(reason(&run), Some(Reason::Invalid));
    assert!(run.state.is_blind());
    assert_eq!(run.value(1, 6.0), []);
    assert_eq!((reason(&run), run.state.is_blind()), (None, false));
}
