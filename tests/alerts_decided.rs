//! What the deciding half comes to, at a clock that the test moves.

use std::time::Duration;

use trading_telemetry::PortfolioSnapshot;
use trading_telemetry::alerts::event::{AlertSeverity, Event, EventKind, MetadataValue};
use trading_telemetry::alerts::rule::RuleSet;
use trading_telemetry::alerts::silence::Silence;
use trading_telemetry::settings::ReminderSettings;
use trading_telemetry::testing::TestTelemetry;

const NO_METADATA: [(&str, MetadataValue); 0] = [];

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

fn record_drawdown(telemetry: &TestTelemetry, drawdown_pct: f64) {
    telemetry.metrics().portfolio().record(&PortfolioSnapshot {
        equity_dollars: 100_000.0,
        cash_dollars: 50_000.0,
        positions: 3,
        daily_pnl_dollars: 0.0,
        daily_pnl_pct: 0.0,
        drawdown_pct,
    });
}

#[test]
fn an_incident_lives_through_its_states_without_a_thread() {
    let telemetry = TestTelemetry::new();
    assert!(telemetry.evaluate_alerts().is_empty(), "the zeros of a start say nothing");
    let mut states = Vec::new();
    for drawdown in [5.0, 5.1, 8.0, 8.1, 7.6, 7.5, 4.6, 4.5] {
        telemetry.clock().advance(Duration::from_secs(1));
        record_drawdown(&telemetry, drawdown);
        states.push(kinds(&telemetry.evaluate_alerts()).first().copied());
    }
    let [none, opened, escalated, de_escalated, resolved] =
        [None, Some("opened"), Some("escalated"), Some("de_escalated"), Some("resolved")];
    assert_eq!(states, [none, opened, none, escalated, none, de_escalated, none, resolved]);
}

#[test]
fn the_end_of_an_incident_does_not_claim_what_its_level_said() {
    let telemetry = TestTelemetry::new();
    let mut messages = Vec::new();
    for used in [2, 3, 0] {
        telemetry.metrics().risk().pdt_trades_used(used);
        messages.extend(telemetry.evaluate_alerts().into_iter().map(|event| event.message));
    }
    assert_eq!(
        messages,
        [
            "2 of 3 day trades used in the rolling 5-day window (1 remaining)",
            "3 of 3 day trades used in the rolling 5-day window (limit reached)",
            "0 of 3 day trades used in the rolling 5-day window",
        ]
    );
}

#[test]
fn a_wall_clock_that_jumps_an_hour_either_way_opens_resolves_and_repeats_nothing() {
    let telemetry = TestTelemetry::new();
    record_drawdown(&telemetry, 9.0);
    assert_eq!(kinds(&telemetry.evaluate_alerts()), ["opened"]);
    let noon = trading_telemetry::clock::Clock::wall(telemetry.clock());
    for hours in [1, -1, 24, -24] {
        telemetry.clock().jump_wall(noon + jiff::SignedDuration::from_hours(hours));
        telemetry.clock().advance(Duration::from_secs(1));
        assert_eq!(kinds(&telemetry.evaluate_alerts()), [""; 0], "{hours} h");
    }
    telemetry.clock().advance(Duration::from_mins(30));
    assert_eq!(kinds(&telemetry.evaluate_alerts()), ["reminded"], "by the time that has passed");
    record_drawdown(&telemetry, 1.0);
    let resolved = telemetry.evaluate_alerts();
    assert_eq!((resolved[0].kind, resolved[0].duration), (EventKind::Resolved, Duration::from_secs(1804)));
}

#[test]
fn direct_alerts_rules_of_ones_own_and_silences_are_decided_too() {
    let telemetry = TestTelemetry::builder()
        .alert_rules(
            "metrics: {desk_queue_depth: {type: gauge}}\n\
             rules: {queue: {metric: desk_queue_depth, when: above, warning: 100}}\n",
        )
        .build();
    let depth = telemetry.meter("desk").f64_gauge("desk.queue_depth").build();
    for _ in 0..3 {
        telemetry.alerts().send_alert(AlertSeverity::Info, "Model retrained", "", NO_METADATA);
    }
    depth.record(500.0, &[]);
    let events = telemetry.evaluate_alerts();
    assert_eq!(kinds(&events), ["direct", "opened"]);
    assert_eq!(telemetry.alerts().open_incidents()[0].rule, "queue");
    telemetry.clock().advance(Duration::from_mins(5));
    let events = telemetry.evaluate_alerts();
    assert_eq!((kinds(&events), events[0].count), (vec!["direct"], 2));

    let until = trading_telemetry::clock::Clock::wall(telemetry.clock()) + Duration::from_hours(1);
    telemetry
        .alerts()
        .silence(Silence::new("s", Some("psi"), &[], until, None).expect("well formed"))
        .expect("a rule");
    telemetry.metrics().ml().psi(0.3);
    let events = telemetry.evaluate_alerts();
    assert!(events[0].silenced && events[0].kind == EventKind::Opened, "{events:?}");
}

#[test]
fn the_settings_say_how_often_a_rule_repeats_that_does_not_say_so_itself() {
    let minutes = |minutes| Some(Duration::from_mins(minutes));
    let reminders = ReminderSettings { critical: minutes(5), warning: None, info: minutes(60) };
    let own = "rules: {psi: {repeat: {critical: 7m}}}";
    let rules =
        RuleSet::load_with(Some(("alerts.yaml", own)), &reminders).into_result().expect("well formed");
    let repeat = |rule: &str| {
        let rule = rules.get(rule).expect("built in");
        AlertSeverity::ALL.map(|severity| rule.repeat(severity))
    };
    assert_eq!(repeat("drawdown"), [minutes(60), None, minutes(5)]);
    assert_eq!(repeat("psi"), [minutes(60), None, minutes(7)]);
}

#[test]
#[should_panic(expected = "alerts.yaml:1:21: unknown metric `drawdown`")]
fn a_mistake_in_the_rules_of_a_test_is_shown() {
    let _ = TestTelemetry::builder()
        .alert_rules("rules: {x: {metric: drawdown, when: above, warning: 1}}")
        .build();
}
