//! From samples to events: label sets, restarts, silences, direct alerts that join, what cannot be seen.
#![expect(clippy::expect_used, reason = "a test fails by it")]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use trading_telemetry::alerts::direct::DirectAlert;
use trading_telemetry::alerts::evaluation::{
    Evaluator, Measured, Moment, Notice, Origin, Outcome, Recorded, Sample, Scope, StoredIncident, Tuning,
};
use trading_telemetry::alerts::event::{AlertSeverity, Event, EventKind, Reason};
use trading_telemetry::alerts::incident::Hours;
use trading_telemetry::alerts::rule::RuleSet;
use trading_telemetry::alerts::silence::{Silence, Silences};

use AlertSeverity::{Critical, Info, Warning};
use EventKind::{Direct, Escalated, Opened, Reminded, Resolved, Updated};

const KILL_SWITCH: &str = "trading_kill_switch_active";
const DRAWDOWN: &str = "trading_portfolio_drawdown_pct";
const UP: &str = "trading_component_up";

fn wall(seconds: f64) -> Timestamp {
    let seconds = SignedDuration::try_from_secs_f64(seconds).expect("in range");
    Timestamp::from_second(1_700_000_000).expect("in range") + seconds
}

fn at(seconds: f64) -> Moment {
    Moment::new(Duration::from_secs_f64(seconds), wall(seconds))
}

fn evaluator(rules: &RuleSet) -> Evaluator {
    Evaluator::new(rules, Tuning::default(), 0, at(0.0), Vec::new()).0
}

fn built_in() -> Evaluator {
    evaluator(&RuleSet::built_in())
}

fn own(text: &str) -> RuleSet {
    RuleSet::load(Some(("test.yaml", text))).into_result().expect("well formed")
}

/// One value of one series, seen alone: the others are not looked at.
fn value(
    evaluator: &mut Evaluator,
    second: f64,
    metric: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> Vec<Event> {
    let labels: Vec<(String, String)> =
        labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    sample(evaluator, at(second), metric, &Sample::gauge(&labels, value, Recorded::At(at(second).monotonic)))
}

fn sample(evaluator: &mut Evaluator, moment: Moment, metric: &str, sample: &Sample<'_>) -> Vec<Event> {
    let mut pass = evaluator.begin(moment, Scope::Some);
    let watch = pass.watch(metric).expect("watched");
    pass.observe(watch, sample);
    pass.finish().events
}

fn nothing(evaluator: &mut Evaluator, second: f64) -> Outcome {
    evaluator.begin(at(second), Scope::All).finish()
}

fn kinds(events: &[Event]) -> Vec<(EventKind, AlertSeverity)> {
    events.iter().map(|event| (event.kind, event.severity)).collect()
}

fn state(evaluator: &Evaluator, rule: &str) -> i8 {
    let (_, state) = evaluator.rule_states().find(|(known, _)| known.name == rule).expect("a rule");
    state.value
}

#[test]
fn an_event_says_everything_a_message_needs() {
    let mut evaluator = built_in();
    value(&mut evaluator, 1.0, DRAWDOWN, &[], 5.5);
    value(&mut evaluator, 4.0, DRAWDOWN, &[], 8.4);
    let events = value(&mut evaluator, 39.0, DRAWDOWN, &[], 7.4);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (event.kind, event.severity, event.worst_severity),
        (EventKind::DeEscalated, Warning, Critical)
    );
    assert_eq!(
        (event.title.as_str(), event.message.as_str()),
        ("Portfolio Drawdown", "Drawdown 7.4 % (the breaker trips at 10 %)")
    );
    assert_eq!((event.value, event.worst), (Some(7.4), Some(8.4)));
    assert_eq!(event.threshold.expect("a level").to_string(), "> 5");
    assert_eq!((event.unit.as_str(), event.duration), ("%", Duration::from_secs(38)));
    assert_eq!((event.since, event.at), (wall(1.0), wall(39.0)));
}

#[test]
fn each_label_set_has_an_incident_of_its_own_in_any_order_of_labels() {
    let rules = own(
        "metrics: {m: {type: gauge}}\nrules: {mine: {metric: m, when: above, warning: 1, title: \"{label.a} {label.b}\"}}",
    );
    let mut evaluator = evaluator(&rules);
    let first = value(&mut evaluator, 1.0, "m", &[("a", "1"), ("b", "2")], 2.0);
    assert_eq!(first[0].title, "1 2");
    assert_eq!(value(&mut evaluator, 2.0, "m", &[("b", "2"), ("a", "1")], 2.0), []);
    let second = value(&mut evaluator, 3.0, "m", &[("a", "2"), ("b", "1")], 2.0);
    assert_eq!(kinds(&second), [(Opened, Warning)]);
    assert_ne!(first[0].incident, second[0].incident);
    let end = value(&mut evaluator, 4.0, "m", &[("b", "2"), ("a", "1")], 0.0);
    assert_eq!((end[0].kind, &end[0].incident), (Resolved, &first[0].incident));
    assert_eq!(evaluator.open(at(5.0)).count(), 1);
}

#[test]
fn a_blip_between_two_evaluations_is_reported() {
    let mut evaluator = built_in();
    value(&mut evaluator, 1.0, KILL_SWITCH, &[], 0.0);
    let measured = Measured::Gauge { last: 0.0, worst: Some(1.0) };
    let blip = Sample::new(&[] as &[(&str, &str); 0], measured, Recorded::At(Duration::from_secs(2)));
    let events = sample(&mut evaluator, at(2.0), KILL_SWITCH, &blip);
    assert_eq!(kinds(&events), [(Opened, Critical), (Resolved, Critical)]);
    assert_eq!(events[0].incident, events[1].incident);
}

#[test]
fn a_reported_loss_of_the_broker_needs_no_for_and_an_excused_one_pages_when_the_hours_begin() {
    let broker = [("component", "broker")];
    let mut evaluator = built_in();
    let down = |second: f64| Sample::gauge(&broker, 0.0, Recorded::At(at(second).monotonic));
    assert_eq!(
        sample(&mut evaluator, at(1.0), UP, &Sample { excused: true, reported: true, ..down(1.0) }),
        []
    );
    assert_eq!(
        kinds(&sample(&mut evaluator, at(2.0), UP, &Sample { reported: true, ..down(2.0) })),
        [(Opened, Critical)]
    );

    let mut evaluator = built_in();
    assert_eq!(sample(&mut evaluator, at(1.0), UP, &Sample { excused: true, ..down(1.0) }), []);
    assert_eq!(sample(&mut evaluator, at(60.0), UP, &down(60.0)), [], "a poll waits for its 2 s");
    assert_eq!(kinds(&sample(&mut evaluator, at(62.0), UP, &down(62.0))), [(Opened, Critical)]);
}

#[test]
fn an_incident_that_is_open_survives_a_restart_without_a_word() {
    let mut before = built_in();
    let opened = value(&mut before, 1_000.0, KILL_SWITCH, &[], 1.0);
    let stored = serde_json::to_string(&before.stored(at(1_001.0))).expect("it serialises");
    let stored: Vec<StoredIncident> = serde_json::from_str(&stored).expect("it reads back");

    // Ten seconds later in a process whose monotonic clock begins at 3.
    let wall = wall(1_011.0);
    let moment = |second| {
        Moment::new(Duration::from_secs(second), wall + SignedDuration::from_secs(second.cast_signed() - 3))
    };
    let rules = RuleSet::built_in();
    let (mut after, events) = Evaluator::new(&rules, Tuning::default(), 7, moment(3), stored);
    assert_eq!(events, []);
    assert_eq!(state(&after, "kill_switch"), -1, "blind until it is recorded");
    let none: [(&str, &str); 0] = [];
    let zero = Sample::gauge(&none, 0.0, Recorded::Never);
    assert_eq!(sample(&mut after, moment(4), KILL_SWITCH, &zero), [], "a start-up 0 resolves nothing");
    let mut pass = after.begin(moment(5), Scope::All);
    assert_eq!(pass.watch(KILL_SWITCH).map(|watch| pass.observe(watch, &zero)), Some(()));
    assert_eq!(pass.finish().events, []);
    let on = Sample::gauge(&none, 1.0, Recorded::At(Duration::from_secs(13)));
    assert_eq!(sample(&mut after, moment(13), KILL_SWITCH, &on), [], "no second opened");
    assert_eq!(state(&after, "kill_switch"), 2);
    let off = Sample::gauge(&none, 0.0, Recorded::At(Duration::from_secs(23)));
    let end = sample(&mut after, moment(23), KILL_SWITCH, &off);
    assert_eq!(kinds(&end), [(Resolved, Critical)]);
    assert_eq!(end[0].incident, opened[0].incident);
    assert_eq!(end[0].duration, Duration::from_secs(31), "the time between the processes is part of it");
}

#[test]
fn what_a_new_process_has_counted_so_far_ends_no_incident_before_its_window_is_whole() {
    let rules = own("\
rules:
  rejected:
    metric: trading_orders_total
    sample: {increase: 60s}
    when: at least
    warning: 3
    critical: 10
");
    let none: [(&str, &str); 0] = [];
    let observe = |evaluator: &mut Evaluator, second: f64, count| {
        let counted =
            Sample::new(&none, Measured::Counter(count), Recorded::At(Duration::from_secs_f64(second)));
        kinds(&sample(evaluator, at(second), "trading_orders_total", &counted))
    };
    let mut before = evaluator(&rules);
    assert_eq!(observe(&mut before, 1.0, 12.0), [(Opened, Critical)]);
    let stored = before.stored(at(2.0));

    for count in [1.0, 4.0] {
        let mut after = Evaluator::new(&rules, Tuning::default(), 7, at(10.0), stored.clone()).0;
        assert_eq!(observe(&mut after, 11.0, count), [], "what the other process saw may be in the window");
        assert_eq!(observe(&mut after, 70.0, count), []);
        assert_eq!(state(&after, "rejected"), -1, "blind until then");
        assert_eq!(observe(&mut after, 71.0, count), [(Resolved, Critical)]);
    }
    let mut after = Evaluator::new(&rules, Tuning::default(), 7, at(10.0), stored).0;
    assert_eq!(observe(&mut after, 11.0, 10.0), [], "it goes on, and is not opened again");
    assert_eq!(state(&after, "rejected"), 2);
}

/// Two processes of one service were killed, each with an incident of the same series.
#[test]
fn of_two_incidents_on_one_series_the_graver_goes_on_and_both_ends_are_told() {
    const PSI: &str = "trading_ml_psi_drift";
    let (mut a, mut b) = (built_in(), built_in());
    let critical = value(&mut a, 10.0, PSI, &[], 0.3).remove(0);
    let warning = value(&mut b, 20.0, PSI, &[], 0.15).remove(0);
    let (a, b) = (a.stored(at(30.0)), b.stored(at(30.0)));
    for stored in [[a.clone(), b.clone()].concat(), [b, a].concat()] {
        let (mut next, events) = Evaluator::new(&RuleSet::built_in(), Tuning::default(), 7, at(40.0), stored);
        assert_eq!(events, []);
        assert_eq!(next.open(at(40.0)).count(), 1);
        // Killed once more: both are still known.
        let stored = next.stored(at(41.0));
        let mut ids: Vec<_> = stored.iter().map(|stored| stored.id().to_owned()).collect();
        ids.sort();
        assert_eq!(ids, [critical.incident.clone(), warning.incident.clone()]);
        let (mut last, _) = Evaluator::new(&RuleSet::built_in(), Tuning::default(), 8, at(0.0), stored);
        for evaluator in [&mut next, &mut last] {
            assert_eq!(value(evaluator, 50.0, PSI, &[], 0.3), [], "the critical one goes on");
            let mut ends = value(evaluator, 51.0, PSI, &[], 0.01);
            ends.sort_by(|a, b| a.incident.cmp(&b.incident));
            assert_eq!(kinds(&ends), [(Resolved, Critical), (Resolved, Warning)]);
            assert_eq!(ends.iter().map(|end| end.incident.as_str()).collect::<Vec<_>>(), ids);
            assert_eq!(ends.iter().map(|end| end.value).collect::<Vec<_>>(), [Some(0.01); 2]);
            assert_eq!(evaluator.stored(at(52.0)), []);
        }
    }
}

#[test]
fn each_incident_goes_on_with_the_time_of_the_process_that_had_it() {
    let (mut old, mut young) = (built_in(), built_in());
    value(&mut old, 10.0, KILL_SWITCH, &[], 1.0);
    value(&mut young, 1_998.0, DRAWDOWN, &[], 9.0);
    // The one process had been running for 100 s, the other for 2,000 s.
    let stored = [old.stored(at(100.0)), young.stored(at(2_000.0))].concat();
    let (mut next, _) = Evaluator::new(&RuleSet::built_in(), Tuning::default(), 7, at(2_000.0), stored);
    assert_eq!(value(&mut next, 2_001.0, DRAWDOWN, &[], 9.0), []);
    assert_eq!(value(&mut next, 2_001.0, KILL_SWITCH, &[], 1.0), [], "told 91 s ago");
    assert_eq!(value(&mut next, 3_709.0, KILL_SWITCH, &[], 1.0), []);
    assert_eq!(kinds(&value(&mut next, 3_710.0, KILL_SWITCH, &[], 1.0)), [(Reminded, Critical)]);
}

#[test]
fn what_ended_while_nobody_looked_is_resolved_once_a_sample_says_so() {
    let mut before = built_in();
    value(&mut before, 10.0, DRAWDOWN, &[], 9.0);
    let stored = before.stored(at(11.0));
    let (mut after, events) = Evaluator::new(&RuleSet::built_in(), Tuning::default(), 0, at(0.0), stored);
    assert_eq!(events, []);
    assert_eq!(kinds(&value(&mut after, 1.0, DRAWDOWN, &[], 1.0)), [(Resolved, Critical)]);
}

#[test]
fn a_restart_into_another_hour_repeats_nothing() {
    let mut before = built_in();
    value(&mut before, 10.0, DRAWDOWN, &[], 9.0);
    let stored = before.stored(at(11.0));
    let jumped = |second: u64| Moment::new(Duration::from_secs(second), wall(-3_600.0));
    let (mut after, events) =
        Evaluator::new(&RuleSet::built_in(), Tuning::default(), 0, jumped(0), stored.clone());
    assert_eq!(events, []);
    let none: [(&str, &str); 0] = [];
    let on = |second| Sample::gauge(&none, 9.0, Recorded::At(Duration::from_secs(second)));
    assert_eq!(sample(&mut after, jumped(1), DRAWDOWN, &on(1)), []);
    let late = |second: u64| Moment::new(Duration::from_secs(second), wall(86_400.0));
    let (mut after, _) = Evaluator::new(&RuleSet::built_in(), Tuning::default(), 0, late(0), stored);
    assert_eq!(sample(&mut after, late(1), DRAWDOWN, &on(1)), []);
    assert_eq!(
        kinds(&sample(&mut after, late(1_799), DRAWDOWN, &on(1_799))),
        [(Reminded, Critical)],
        "1 s was before"
    );
}

#[test]
fn a_for_that_nobody_watched_does_not_count() {
    let rules = own(
        "metrics: {m: {type: gauge}}\nrules: {mine: {metric: m, when: above, warning: 5, critical: {level: 8, for: 60s}}}",
    );
    let mut before = evaluator(&rules);
    assert_eq!(kinds(&value(&mut before, 10.0, "m", &[], 9.0)), [(Opened, Warning)]);
    let (mut after, _) = Evaluator::new(&rules, Tuning::default(), 0, at(0.0), before.stored(at(60.0)));
    assert_eq!(value(&mut after, 30.0, "m", &[], 9.0), []);
    assert_eq!(value(&mut after, 89.0, "m", &[], 9.0), []);
    assert_eq!(kinds(&value(&mut after, 90.0, "m", &[], 9.0)), [(Escalated, Critical)]);
}

#[test]
fn the_incident_of_a_rule_that_is_no_more_ends_without_a_claim() {
    let mut before = built_in();
    value(&mut before, 10.0, DRAWDOWN, &[], 9.0);
    let rules = own("rules: {drawdown: {enabled: false}}");
    let (after, events) = Evaluator::new(&rules, Tuning::default(), 0, at(0.0), before.stored(at(11.0)));
    assert_eq!(kinds(&events), [(Resolved, Critical)]);
    assert_eq!(events[0].reason, Some(Reason::RuleRemoved));
    assert_eq!(events[0].title, "Portfolio Drawdown", "as it was told");
    assert_eq!(after.open(at(1.0)).count(), 0);
}

#[test]
fn resolve_by_policy_never_claims_a_recovery() {
    let rules = own(
        "metrics: {m: {type: gauge}}\nrules: {mine: {metric: m, when: above, warning: 1, missing: {then: resolve, after: 10s}}}",
    );
    let mut evaluator = evaluator(&rules);
    value(&mut evaluator, 1.0, "m", &[], 2.0);
    assert_eq!(nothing(&mut evaluator, 2.0).events, []);
    assert_eq!(nothing(&mut evaluator, 11.0).events, []);
    let end = nothing(&mut evaluator, 12.0).events;
    assert_eq!(kinds(&end), [(Resolved, Warning)]);
    assert_eq!(end[0].reason, Some(Reason::NoData));
    assert!(end[0].message.contains("without a recovery that anybody saw"), "{}", end[0].message);
    assert_eq!(
        kinds(&value(&mut evaluator, 13.0, "m", &[], 2.0)),
        [(Opened, Warning)],
        "it is back and still bad"
    );
}

#[test]
fn freshness_counts_from_the_opening_of_the_market() {
    let mut evaluator = built_in();
    let none: [(&str, &str); 0] = [];
    let yesterday = Sample::gauge(&none, 3.0, Recorded::At(Duration::from_secs(1)));
    let closed = |second: f64| Moment { hours: Hours::Closed, ..at(second) };
    let open =
        |second: f64| Moment { hours: Hours::Open { since: Duration::from_secs(50_000) }, ..at(second) };
    assert_eq!(sample(&mut evaluator, closed(49_999.0), DRAWDOWN, &yesterday), []);
    assert_eq!(sample(&mut evaluator, open(50_000.0), DRAWDOWN, &yesterday), []);
    assert_eq!(sample(&mut evaluator, open(50_059.0), DRAWDOWN, &yesterday), []);
    let stale = sample(&mut evaluator, open(50_060.0), DRAWDOWN, &yesterday);
    assert_eq!(kinds(&stale), [(Opened, Warning)]);
    assert_eq!(stale[0].reason, Some(Reason::Stale));
    assert_eq!(sample(&mut evaluator, closed(60_000.0), DRAWDOWN, &yesterday), [], "closing is no recovery");
}

/// The portfolio's figures are recorded as one snapshot: what one rule says of its absence, the others need not repeat.
#[test]
fn a_snapshot_that_nobody_records_is_one_incident_whatever_rules_watch_it() {
    const DAILY_PNL: &str = "trading_portfolio_daily_pnl_pct";
    let in_hours = |second: f64| Moment { hours: Hours::Open { since: Duration::ZERO }, ..at(second) };
    let pass = |evaluator: &mut Evaluator, second: f64, figures: [(&str, f64, f64); 2]| {
        let mut pass = evaluator.begin(in_hours(second), Scope::All);
        for (metric, value, recorded) in figures {
            let watch = pass.watch(metric).expect("watched");
            let none: [(&str, &str); 0] = [];
            pass.observe(watch, &Sample::gauge(&none, value, Recorded::At(at(recorded).monotonic)));
        }
        let mut told: Vec<_> = pass.finish().events.into_iter().map(|e| (e.rule, e.kind, e.reason)).collect();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        told
    };
    let by = |rule: &str, kind, reason| (Some(rule.to_owned()), kind, reason);
    let stale = Some(Reason::Stale);

    // Calm figures: one incident opens, and ends with the next snapshot, also where the evaluation saw half of it.
    let mut evaluator = built_in();
    let both = |recorded: f64| [(DAILY_PNL, 0.5, recorded), (DRAWDOWN, 3.0, recorded)];
    assert_eq!(pass(&mut evaluator, 1.0, both(1.0)), []);
    assert_eq!(pass(&mut evaluator, 61.0, both(1.0)), [by("daily_pnl", Opened, stale)]);
    for second in 62..200 {
        assert_eq!(pass(&mut evaluator, f64::from(second), both(1.0)), []);
    }
    assert_eq!(state(&evaluator, "drawdown"), -1, "the other rule is blind, and shows it");
    assert_eq!(evaluator.open(in_hours(200.0)).count(), 1);
    let half = [(DAILY_PNL, 0.5, 200.0), (DRAWDOWN, 3.0, 1.0)];
    assert_eq!(pass(&mut evaluator, 200.0, half), [by("daily_pnl", Resolved, None)]);
    assert_eq!(pass(&mut evaluator, 201.0, both(200.5)), []);
    // One figure alone that stays away (it is refused, say) speaks for itself after its own time.
    assert_eq!(pass(&mut evaluator, 261.0, both(200.5)), [by("daily_pnl", Opened, stale)]);
    assert_eq!(pass(&mut evaluator, 262.0, [(DAILY_PNL, 0.5, 262.0), (DRAWDOWN, 3.0, 200.5)]).len(), 1);
    let alone = |evaluator: &mut Evaluator, second: f64| {
        pass(evaluator, second, [(DAILY_PNL, 0.5, second), (DRAWDOWN, 3.0, 200.5)])
    };
    assert_eq!(alone(&mut evaluator, 300.0), []);
    assert_eq!(alone(&mut evaluator, 323.0), [by("drawdown", Opened, stale)]);

    // With a drawdown open, its incident tells, and no other opens for it.
    let mut evaluator = built_in();
    let deep = |recorded: f64| [(DAILY_PNL, 0.5, recorded), (DRAWDOWN, 9.0, recorded)];
    assert_eq!(pass(&mut evaluator, 1.0, deep(1.0)), [by("drawdown", Opened, None)]);
    let told = pass(&mut evaluator, 61.0, deep(1.0));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(pass(&mut evaluator, 70.0, deep(1.0)), []);

    // With both open, one of them says it; the other says it with its next reminder.
    let mut evaluator = built_in();
    let bad = |recorded: f64| [(DAILY_PNL, -3.0, recorded), (DRAWDOWN, 9.0, recorded)];
    assert_eq!(pass(&mut evaluator, 1.0, bad(1.0)).len(), 2);
    assert_eq!(pass(&mut evaluator, 61.0, bad(1.0)), [by("daily_pnl", Updated, stale)]);
    assert_eq!(pass(&mut evaluator, 62.0, bad(1.0)), []);
    let reminders = pass(&mut evaluator, 1850.0, bad(1.0));
    assert_eq!(reminders, [by("drawdown", Reminded, stale)]);
    let back = pass(&mut evaluator, 1851.0, bad(1851.0));
    assert_eq!(back, [by("daily_pnl", Updated, None), by("drawdown", Updated, None)], "both had said it");
}

#[test]
fn a_silence_mutes_messages_but_not_incidents_and_its_end_tells_what_still_holds() {
    let mut evaluator = built_in();
    let silence = Silence::new("s", Some("drawdown"), &[], wall(100.0), None).expect("well formed");
    let mut silences = Silences::default();
    silences.add(silence);
    evaluator.set_silences(silences);
    let events = value(&mut evaluator, 1.0, DRAWDOWN, &[], 6.0);
    assert!(events[0].silenced);
    assert_eq!(evaluator.open(at(1.0)).count(), 1);
    assert!(value(&mut evaluator, 99.0, DRAWDOWN, &[], 9.0)[0].silenced);
    let after = value(&mut evaluator, 100.0, DRAWDOWN, &[], 9.0);
    assert_eq!(kinds(&after), [(Updated, Critical)]);
    assert!(!after[0].silenced);
    assert_eq!(value(&mut evaluator, 101.0, DRAWDOWN, &[], 9.0), [], "once");

    evaluator.set_silences(Silences::default());
    let on = value(&mut evaluator, 102.0, KILL_SWITCH, &[], 1.0);
    assert!(!on[0].silenced);
}

#[test]
fn what_nobody_heard_of_ends_unheard() {
    let mut evaluator = built_in();
    evaluator.set_silences(muted("drawdown"));
    assert!(value(&mut evaluator, 1.0, DRAWDOWN, &[], 9.0)[0].silenced);
    evaluator.set_silences(Silences::default());
    let end = value(&mut evaluator, 2.0, DRAWDOWN, &[], 1.0);
    assert_eq!((end[0].kind, end[0].silenced), (Resolved, true));

    // A warning that people heard of has an end that they hear of.
    assert!(!value(&mut evaluator, 3.0, DRAWDOWN, &[], 6.0)[0].silenced);
    evaluator.set_silences(muted("drawdown"));
    assert!(value(&mut evaluator, 4.0, DRAWDOWN, &[], 9.0)[0].silenced);
    let stored = evaluator.stored(at(4.5));
    evaluator.set_silences(Silences::default());
    let (restarted, _) = Evaluator::new(&RuleSet::built_in(), Tuning::default(), 7, at(4.5), stored);
    for mut evaluator in [evaluator, restarted] {
        let end = value(&mut evaluator, 5.0, DRAWDOWN, &[], 1.0);
        assert_eq!((end[0].kind, end[0].silenced), (Resolved, false));
    }
}

#[test]
fn the_end_of_a_loss_claims_no_loss() {
    let mut evaluator = built_in();
    let broker = [("component", "broker")];
    let origin = Origin { last_error: Some("socket closed".into()), ..Origin::default() };
    let mut seen = |second: f64, value: f64| {
        let recorded = Recorded::At(at(second).monotonic);
        let reported = Sample { reported: true, ..Sample::gauge(&broker, value, recorded) };
        sample(&mut evaluator, at(second), UP, &Sample { origin: Some(&origin), ..reported })
    };
    let down = seen(1.0, 0.0);
    assert_eq!(down[0].message, "The connection to the broker (IBKR) is down");
    assert_eq!(down[0].metadata, [("last_error".to_owned(), "socket closed".into())]);
    assert_eq!(seen(10.0, 1.0), []);
    let up = seen(15.0, 1.0);
    assert_eq!(
        (up[0].kind, up[0].message.as_str()),
        (Resolved, "The connection to the broker (IBKR) is back")
    );
    assert_eq!(up[0].metadata, []);
}

fn named(message: &str) -> DirectAlert {
    DirectAlert {
        rule: Some("kill_switch".into()),
        metadata: vec![("vix".into(), 38.5.into())],
        ..DirectAlert::new(Critical, "Kill Switch Activated", message)
    }
}

#[test]
fn a_reason_and_an_alert_of_the_same_title_are_one_message() {
    for order in [[0, 1, 2], [1, 0, 2], [0, 2, 1]] {
        let mut evaluator = built_in();
        value(&mut evaluator, 0.5, KILL_SWITCH, &[], 0.0);
        let mut events = Vec::new();
        for (index, step) in (0_u32..).zip(order) {
            let second = 1.0 + f64::from(index) / 10.0;
            events.extend(match step {
                0 => evaluator.direct(named("VIX > 35"), at(second)),
                1 => evaluator.direct(
                    DirectAlert::new(Critical, "Kill Switch Activated", "Trading halted"),
                    at(second),
                ),
                _ => value(&mut evaluator, second, KILL_SWITCH, &[], 1.0),
            });
        }
        events.extend(nothing(&mut evaluator, 400.0).events);
        assert_eq!(kinds(&events), [(Opened, Critical)], "{order:?}");
        assert_eq!(
            (events[0].title.as_str(), events[0].message.as_str()),
            ("Kill Switch Activated", "VIX > 35")
        );
        assert_eq!(events[0].metadata, [("vix".to_owned(), 38.5.into())]);
    }
}

#[test]
fn a_reason_that_comes_late_is_told_and_stays_with_the_incident() {
    let mut evaluator = built_in();
    let opened = value(&mut evaluator, 1.0, KILL_SWITCH, &[], 1.0);
    assert_eq!(opened[0].message, "Trading halted by the kill switch");
    let late = evaluator.direct(named("VIX > 35"), at(1.2));
    assert_eq!((late[0].kind, late[0].message.as_str()), (Updated, "VIX > 35"));
    assert_eq!(late[0].incident, opened[0].incident);
    assert_eq!(evaluator.direct(named("VIX > 35"), at(1.3)), [], "known");
    let end = value(&mut evaluator, 9.0, KILL_SWITCH, &[], 0.0);
    assert_eq!((end[0].kind, end[0].message.as_str()), (Resolved, "VIX > 35"));
}

/// A critical alert that means an incident by its title alone.
fn titled(title: &str, message: &str) -> DirectAlert {
    DirectAlert::new(Critical, title, message)
}

fn muted(rule: &str) -> Silences {
    let mut silences = Silences::default();
    silences.add(Silence::new("s", Some(rule), &[], wall(10_000.0), None).expect("well formed"));
    silences
}

#[test]
fn a_critical_alert_with_a_new_text_is_sent_whatever_incident_has_its_title() {
    let mut evaluator = built_in();
    evaluator.direct(named("VIX > 35"), at(1.0));
    assert_eq!(kinds(&value(&mut evaluator, 1.0, KILL_SWITCH, &[], 1.0)), [(Opened, Critical)]);
    let unsafe_text = titled("Kill Switch Activated", "Positions NOT flattened");
    let events = evaluator.direct(unsafe_text.clone(), at(2.0));
    assert_eq!(kinds(&events), [(Direct, Critical)]);
    assert_eq!((events[0].message.as_str(), events[0].rule.as_deref()), ("Positions NOT flattened", None));
    assert_eq!(evaluator.direct(unsafe_text, at(3.0)), [], "the same one is counted");
    assert_eq!(evaluator.direct(titled("Kill Switch Activated", "VIX > 35"), at(3.0)), [], "told");

    // Another series than the one that is open.
    let rules = own("metrics: {desk_q: {type: gauge, labels: [queue]}}\n\
                     rules: {queue: {metric: desk_q, when: above, critical: 10, title: Queue Stuck}}");
    let mut evaluator = self::evaluator(&rules);
    value(&mut evaluator, 1.0, "desk_q", &[("queue", "alpha")], 11.0);
    let events = evaluator.direct(titled("Queue Stuck", "queue beta is stuck"), at(5.0));
    assert_eq!(kinds(&events), [(Direct, Critical)]);
}

#[test]
fn an_incident_that_has_just_opened_without_a_text_takes_and_tells_that_of_a_critical_alert() {
    let mut evaluator = built_in();
    value(&mut evaluator, 1.0, KILL_SWITCH, &[], 1.0);
    let events = evaluator.direct(titled("Kill Switch Activated", "VIX > 35"), at(1.2));
    assert_eq!(kinds(&events), [(Updated, Critical)]);
    assert_eq!(events[0].message, "VIX > 35");
}

#[test]
fn two_critical_texts_that_wait_for_one_incident_are_both_sent() {
    let mut evaluator = built_in();
    evaluator.direct(titled("Kill Switch Activated", "VIX > 35"), at(1.0));
    evaluator.direct(titled("Kill Switch Activated", "Positions NOT flattened"), at(1.1));
    let mut events = value(&mut evaluator, 1.2, KILL_SWITCH, &[], 1.0);
    events.extend(nothing(&mut evaluator, 3.0).events);
    assert_eq!(kinds(&events), [(Opened, Critical), (Direct, Critical)]);
    assert_ne!(events[0].message, events[1].message);
}

#[test]
fn a_muted_incident_swallows_no_critical_alert() {
    const PSI: &str = "trading_ml_psi_drift";
    let by_name = DirectAlert { rule: Some("psi".into()), ..titled("Model Drift", "stop the model") };
    for alert in [titled("Model Drift", "stop the model"), by_name] {
        // Open before the alert, and opened after it.
        let mut evaluator = built_in();
        evaluator.set_silences(muted("psi"));
        assert!(value(&mut evaluator, 1.0, PSI, &[], 0.3)[0].silenced);
        let events = evaluator.direct(alert.clone(), at(1.1));
        assert_eq!(kinds(&events), [(Direct, Critical)]);
        assert!(!events[0].silenced);

        let mut evaluator = built_in();
        evaluator.set_silences(muted("psi"));
        assert_eq!(evaluator.direct(alert, at(1.0)), []);
        assert!(value(&mut evaluator, 1.1, PSI, &[], 0.3)[0].silenced);
        let events = nothing(&mut evaluator, 3.0).events;
        assert_eq!(kinds(&events), [(Direct, Critical)]);
        assert!(!events[0].silenced);
    }
}

#[test]
fn a_warning_does_not_take_a_critical_alert_for_its_own_text() {
    let mut evaluator = built_in();
    evaluator.direct(titled("Model Drift", "stop the model"), at(1.0));
    let opened = value(&mut evaluator, 1.1, "trading_ml_psi_drift", &[], 0.15);
    assert_eq!(
        (opened[0].severity, opened[0].message.as_str()),
        (Warning, "Population Stability Index 0.15")
    );
    assert_eq!(kinds(&nothing(&mut evaluator, 3.0).events), [(Direct, Critical)]);
}

#[test]
fn of_two_reasons_the_newest_is_the_valid_one() {
    let mut evaluator = built_in();
    evaluator.direct(named("Reason one"), at(1.0));
    evaluator.direct(named("Reason two"), at(1.0));
    let mut events = value(&mut evaluator, 1.0, KILL_SWITCH, &[], 1.0);
    events.extend(nothing(&mut evaluator, 5.0).events);
    events.extend(value(&mut evaluator, 9.0, KILL_SWITCH, &[], 0.0));
    assert_eq!(kinds(&events), [(Opened, Critical), (Resolved, Critical)]);
    assert_eq!(events.iter().map(|event| event.message.as_str()).collect::<Vec<_>>(), ["Reason two"; 2]);
}

/// Off and on again, where the engine hears of the new reason while it still sees the old incident.
#[test]
fn a_reason_that_comes_just_before_the_end_of_an_incident_is_told_with_the_next() {
    for second in ["Reason two", "Reason one"] {
        let mut evaluator = built_in();
        evaluator.direct(named("Reason one"), at(1.0));
        value(&mut evaluator, 1.0, KILL_SWITCH, &[], 1.0);
        evaluator.direct(named(second), at(2.0));
        assert_eq!(kinds(&value(&mut evaluator, 2.0, KILL_SWITCH, &[], 0.0)), [(Resolved, Critical)]);
        let opened = value(&mut evaluator, 2.1, KILL_SWITCH, &[], 1.0);
        assert_eq!((opened[0].kind, opened[0].message.as_str()), (Opened, second));
        assert_eq!(evaluator.take_waiting_changes(), []);
        assert_eq!(nothing(&mut evaluator, 9.0).events, []);
        assert_eq!(evaluator.drain(at(9.0)), []);
    }
}

#[test]
fn an_alert_whose_incident_does_not_open_is_sent_by_itself() {
    let mut evaluator = built_in();
    assert_eq!(evaluator.direct(named("VIX > 35"), at(1.0)), []);
    let deadline = evaluator.next_deadline().expect("something is held back");
    assert!(deadline > Duration::from_secs(1) && deadline < Duration::from_secs(2), "{deadline:?}");
    let events = evaluator.begin(Moment::new(deadline, wall(2.0)), Scope::Some).finish().events;
    assert_eq!(kinds(&events), [(Direct, Critical)]);
    assert_eq!((events[0].message.as_str(), events[0].rule.as_deref()), ("VIX > 35", None));
    assert_eq!(nothing(&mut evaluator, 10.0).events, []);
}

#[test]
fn an_alert_is_stored_as_long_as_it_waits_and_goes_out_with_the_next_process() {
    let mut evaluator = built_in();
    assert_eq!(evaluator.direct(named("VIX > 35"), at(1.0)), []);
    let stored = evaluator.take_waiting_changes();
    assert_eq!(stored.len(), 1);
    assert_eq!(evaluator.take_waiting_changes(), [], "once");
    assert_eq!(kinds(&value(&mut evaluator, 1.1, KILL_SWITCH, &[], 1.0)), [(Opened, Critical)]);
    assert_eq!(evaluator.take_waiting_changes(), [(stored[0].0.clone(), None)]);

    let alerts: Vec<_> = stored.into_iter().filter_map(|(_, alert)| alert).collect();
    let mut next = built_in();
    let events = next.restore_waiting(alerts.clone(), at(500.0));
    assert_eq!(kinds(&events), [(Direct, Critical)]);
    assert_eq!((events[0].message.as_str(), events[0].rule.as_deref()), ("VIX > 35", None));
    assert_eq!(events[0].at, wall(1.0), "it is as old as it is");
    assert_eq!(next.restore_waiting(alerts, at(501.0)), [], "told");
}

#[test]
fn an_alert_that_finds_its_incident_at_once_is_not_stored() {
    let mut evaluator = built_in();
    evaluator.direct(named("VIX > 35"), at(1.0));
    value(&mut evaluator, 1.0, KILL_SWITCH, &[], 1.0);
    assert_eq!(evaluator.take_waiting_changes(), []);
}

#[test]
fn a_shutdown_sends_what_was_held_back() {
    let mut evaluator = built_in();
    assert_eq!(evaluator.direct(named("VIX > 35"), at(1.0)), []);
    assert_eq!(kinds(&evaluator.drain(at(1.1))), [(Direct, Critical)]);
    assert_eq!(evaluator.drain(at(1.2)), []);
}

#[test]
fn an_alert_that_no_rule_knows_is_sent_at_once() {
    let mut evaluator = built_in();
    let retrained = DirectAlert::new(Info, "Model retrained", "accuracy 0.58");
    assert_eq!(kinds(&evaluator.direct(retrained.clone(), at(1.0))), [(Direct, Info)]);
    assert_eq!(evaluator.direct(retrained.clone(), at(2.0)), [], "the same one");
    let unknown = DirectAlert { rule: Some("no_such_rule".into()), ..DirectAlert::new(Warning, "a", "b") };
    assert_eq!(kinds(&evaluator.direct(unknown, at(3.0))), [(Direct, Warning)]);
    let counted = nothing(&mut evaluator, 301.0).events;
    assert_eq!(counted.iter().map(|event| event.count).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_cannot_be_seen_makes_its_rule_blind_and_says_so_once() {
    let rules = own(
        "metrics: {m: {type: gauge}, absent: {type: gauge}}\nrules:\n  mine: {metric: m, when: above, warning: 1, missing: {then: alert, after: 1s}}\n  none: {metric: absent, when: above, warning: 1}",
    );
    let mut evaluator = evaluator(&rules);
    assert_eq!(state(&evaluator, "mine"), -1);
    value(&mut evaluator, 1.0, "m", &[("a", "1")], 0.0);
    assert_eq!(state(&evaluator, "mine"), 0);

    // A provider that fails is no vanished series.
    let mut pass = evaluator.begin(at(100.0), Scope::All);
    let watch = pass.watch("m").expect("watched");
    pass.unreadable(watch);
    assert_eq!(pass.finish().events, []);
    assert_eq!(state(&evaluator, "mine"), -1);
    value(&mut evaluator, 101.0, "m", &[("a", "1")], 0.0);
    assert_eq!(state(&evaluator, "mine"), 0);

    let mut notices = Vec::new();
    for second in [102.0, 103.0, 600.0, 601.0] {
        let mut pass = evaluator.begin(at(second), Scope::All);
        let watch = pass.watch("m").expect("watched");
        let now = Recorded::At(at(second).monotonic);
        pass.observe(watch, &Sample::gauge(&[("a", "1")], 0.0, now));
        pass.observe(watch, &Sample::gauge(&[("otel.metric.overflow", "true")], 9.0, now));
        let outcome = pass.finish();
        assert_eq!(outcome.events, [], "the overflow set is no series");
        notices.extend(outcome.notices);
    }
    let text = |rule: &str, metric: &str| (rule.to_owned(), metric.to_owned());
    let (rule, metric) = text("mine", "m");
    let partly = Notice::PartlyBlind { rule, metric };
    let built_in =
        |notice: &Notice| matches!(notice, Notice::NeverAppeared { metric, .. } if metric != "absent");
    notices.retain(|notice| !built_in(notice));
    let (rule, metric) = text("none", "absent");
    assert_eq!(notices, [partly, Notice::NeverAppeared { rule, metric }]);
    assert!(evaluator.rule_states().any(|(rule, state)| rule.name == "mine" && state.is_partly_blind));
}

#[test]
fn rules_on_counters_and_histograms_look_through_their_window() {
    let rules = own("\
rules:
  rejected:
    metric: trading_orders_total
    labels: ['status=\"REJECTED\"']
    sample: {increase: 60s}
    when: at least
    warning: 3
  idle:
    metric: trading_trades_total
    sample: {rate: 60s}
    when: below
    warning: 0.1
  slow:
    metric: trading_fill_latency_ms
    sample: {quantile: 0.5, over: 60s}
    when: above
    critical: 5000
");
    let mut evaluator = evaluator(&rules);
    let mut observe = |second: f64, metric: &str, labels: &[(&str, &str)], measured: Measured<'_>| {
        let labels: Vec<_> = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        kinds(&sample(
            &mut evaluator,
            at(second),
            metric,
            &Sample::new(&labels, measured, Recorded::At(at(second).monotonic)),
        ))
    };
    let rejected = [("status", "REJECTED")];
    let orders = "trading_orders_total";
    assert_eq!(observe(0.0, orders, &[("status", "FILLED")], Measured::Counter(100.0)), []);
    assert_eq!(observe(0.0, orders, &rejected, Measured::Counter(2.0)), []);
    assert_eq!(observe(10.0, orders, &rejected, Measured::Counter(3.0)), [(Opened, Warning)]);
    assert_eq!(observe(20.0, orders, &rejected, Measured::Counter(0.0)), [], "a reset is no negative rate");
    assert_eq!(observe(90.0, orders, &rejected, Measured::Counter(0.0)), [(Resolved, Warning)]);

    let trades = "trading_trades_total";
    assert_eq!(observe(0.0, trades, &[], Measured::Counter(0.0)), []);
    assert_eq!(observe(59.0, trades, &[], Measured::Counter(0.0)), [], "not a whole window yet");
    assert_eq!(observe(60.0, trades, &[], Measured::Counter(0.0)), [(Opened, Warning)]);
    assert_eq!(observe(70.0, trades, &[], Measured::Counter(6.0)), [(Resolved, Warning)]);

    let bounds = [1000.0, 10_000.0];
    let fills = "trading_fill_latency_ms";
    let histogram = |counts| Measured::Histogram { bounds: &bounds, counts, sum: 0.0 };
    assert_eq!(observe(0.0, fills, &[], histogram(&[9, 0, 0])), []);
    assert_eq!(observe(61.0, fills, &[], histogram(&[9, 4, 0])), [(Opened, Critical)]);
    assert_eq!(observe(150.0, fills, &[], histogram(&[9, 4, 0])), [], "no fills are no recovery");
    assert_eq!(observe(160.0, fills, &[], histogram(&[19, 4, 0])), [(Resolved, Critical)]);
}

#[test]
fn an_incident_keeps_the_order_that_was_current() {
    let mut evaluator = built_in();
    let (order_id, trace_id) = (Some("abc123".into()), Some("4bf9".into()));
    let origin = Origin { order_id, trace_id, last_error: None };
    let none: [(&str, &str); 0] = [];
    let on =
        Sample { origin: Some(&origin), ..Sample::gauge(&none, 1.0, Recorded::At(Duration::from_secs(1))) };
    let events = sample(&mut evaluator, at(1.0), KILL_SWITCH, &on);
    assert_eq!(
        (events[0].order_id.as_deref(), events[0].trace_id.as_deref()),
        (Some("abc123"), Some("4bf9"))
    );
    let end = value(&mut evaluator, 2.0, KILL_SWITCH, &[], 0.0);
    assert_eq!(end[0].order_id.as_deref(), Some("abc123"));
}

#[test]
fn who_heard_of_the_worst_hears_of_the_end() {
    let rules = own("rules: {drawdown: {channels: {warning: [slack], critical: [slack, telegram]}}}");
    let mut evaluator = evaluator(&rules);
    let channels = |events: Vec<Event>| events[0].channels.clone().expect("chosen by the rule");
    assert_eq!(channels(value(&mut evaluator, 1.0, DRAWDOWN, &[], 6.0)), ["slack"]);
    let critical = value(&mut evaluator, 2.0, DRAWDOWN, &[], 9.0);
    assert_eq!(critical[0].kind, Escalated);
    assert_eq!(channels(critical), ["slack", "telegram"]);
    value(&mut evaluator, 3.0, DRAWDOWN, &[], 6.0);
    assert_eq!(channels(value(&mut evaluator, 4.0, DRAWDOWN, &[], 1.0)), ["slack", "telegram"]);
}

#[test]
fn series_that_come_and_go_leave_nothing_behind() {
    let rules = own("metrics: {m: {type: gauge}}\nrules: {mine: {metric: m, when: above, warning: 1}}");
    let mut evaluator = evaluator(&rules);
    for round in 0..50_u32 {
        let second = f64::from(round);
        let mut pass = evaluator.begin(at(second), Scope::All);
        let watch = pass.watch("m").expect("watched");
        let id = round.to_string();
        pass.observe(watch, &Sample::gauge(&[("id", id.as_str())], 0.0, Recorded::At(at(second).monotonic)));
        assert_eq!(pass.finish().events, []);
    }
    let size = format!("{evaluator:?}").matches("\"id\"").count();
    assert_eq!(size, 1, "only the series of the last pass");
}
