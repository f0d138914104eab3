//! The bytes that Slack and Telegram get.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use trading_telemetry::alerts::event::{
    AlertSeverity, Comparison, Event, EventKind, MetadataValue, Reason, Threshold,
};
use trading_telemetry::alerts::message::{Notice, Origin, Story, slack_payload, telegram_payload};

mod support {
    pub mod fake;
    pub mod slack;
    pub mod telegram;
}

const CHAT: &str = "4711";

fn event(kind: EventKind, severity: AlertSeverity, title: &str, message: &str) -> Event {
    let at = "2024-03-15T14:32:00Z".parse().unwrap();
    Event { title: title.into(), message: message.into(), ..Event::new("01HS1Z5Q4W-7", kind, severity, at) }
}

fn kill_switch() -> Event {
    let message = "Trading halted due to circuit breaker: VIX > 35";
    let mut event = event(EventKind::Direct, AlertSeverity::Critical, "Kill Switch Activated", message);
    event.metadata = vec![
        ("vix".into(), MetadataValue::Float(38.5)),
        ("timestamp".into(), MetadataValue::from("2024-03-15T14:32:00Z")),
    ];
    event
}

fn drawdown(kind: EventKind, severity: AlertSeverity, value: f64, at: &str) -> Event {
    let mut event = event(kind, severity, "Drawdown", "Drawdown is 8.4 %; the breaker trips at 10 %");
    event.rule = Some("drawdown".into());
    event.worst_severity = AlertSeverity::Critical;
    event.value = Some(value);
    event.worst = Some(8.4);
    event.threshold = Some(Threshold { comparison: Comparison::Above, level: 8.0 });
    event.unit = "%".into();
    event.since = "2024-03-15T10:01:02.25Z".parse().unwrap();
    event.at = format!("2024-03-15T{at}Z").parse().unwrap();
    event.duration = Duration::from_secs(38);
    event.order_id = Some("abc123".into());
    event.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    event
}

fn notice(event: Event) -> Notice {
    let origin = Origin { service: "risk-manager".into(), instance: "host-1:4711".into() };
    Notice::new(event, Arc::new(origin))
}

fn slack_text(notice: &Notice) -> String {
    let payload: Value = serde_json::from_str(&slack_payload(notice)).unwrap();
    payload["blocks"][0]["text"]["text"].as_str().unwrap().to_owned()
}

fn telegram_text(notice: &Notice) -> String {
    let payload: Value = serde_json::from_str(&telegram_payload(notice, CHAT)).unwrap();
    payload["text"].as_str().unwrap().to_owned()
}

/// Both services take it, and nobody regrets it.
fn assert_acceptable(notice: &Notice) {
    let mut problems = Vec::new();
    let (slack, telegram) = (slack_payload(notice), telegram_payload(notice, CHAT));
    assert_eq!(support::slack::check(&slack, &mut problems), Ok(()), "{slack}");
    assert_eq!(support::telegram::check(&telegram, &mut problems), Ok(CHAT), "{telegram}");
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn the_slack_payload_of_a_direct_alert_is_documented_to_the_byte() {
    let documented = "{\"text\": \"\u{26a0}\u{fe0f} CRITICAL: Kill Switch Activated\", \
        \"blocks\": [{\"type\": \"section\", \"text\": {\"type\": \"mrkdwn\", \
        \"text\": \"*Kill Switch Activated*\\n\\nTrading halted due to circuit breaker: VIX > 35\\n\\n\
        *Metadata:*\\n• VIX: 38.5\\n• Timestamp: 2024-03-15T14:32:00Z\"}}]}";
    assert_eq!(slack_payload(&notice(kill_switch())), documented);
}

#[test]
fn the_telegram_text_of_a_direct_alert_is_documented_to_the_byte() {
    let documented = "🔴 CRITICAL: Kill Switch Activated\n\
        Trading halted due to circuit breaker: VIX > 35\n\
        Metadata:\n\
        • VIX: 38.5\n\
        • Timestamp: 2024-03-15T14:32:00Z";
    assert_eq!(telegram_text(&notice(kill_switch())), documented);
    let payload: Value = serde_json::from_str(&telegram_payload(&notice(kill_switch()), CHAT)).unwrap();
    // 🔴 is two units.
    assert_eq!(payload["entities"][0], serde_json::json!({"type": "bold", "offset": 0, "length": 34}));
    assert_eq!(payload["entities"][1], serde_json::json!({"type": "bold", "offset": 83, "length": 9}));
    assert!(payload.get("parse_mode").is_none());
}

#[test]
fn only_a_critical_state_rings_on_telegram() {
    let silent = |kind, severity| {
        let payload = telegram_payload(&notice(event(kind, severity, "t", "m")), CHAT);
        serde_json::from_str::<Value>(&payload).unwrap()["disable_notification"].as_bool().unwrap()
    };
    assert!(!silent(EventKind::Direct, AlertSeverity::Critical));
    assert!(!silent(EventKind::Escalated, AlertSeverity::Critical));
    assert!(silent(EventKind::Resolved, AlertSeverity::Critical));
    assert!(silent(EventKind::Opened, AlertSeverity::Warning));
    assert!(silent(EventKind::Direct, AlertSeverity::Info));
}

/// Each kind of message as both services show it. `UPDATE_GOLDEN=1` writes the files.
#[test]
fn each_kind_of_message_is_as_recorded() {
    use AlertSeverity::{Critical, Info, Warning};
    let rule = |kind, severity, value| drawdown(kind, severity, value, "10:01:05");
    let mut updated = rule(EventKind::Updated, Critical, 8.4);
    updated.reason = Some(Reason::Stale);
    let mut component = event(EventKind::Opened, Critical, "Broker connection lost", "The broker is down");
    component.rule = Some("broker".into());
    component.labels = vec![("component".into(), "broker".into())];
    component.value = Some(0.0);
    component.threshold = Some(Threshold { comparison: Comparison::AtMost, level: 0.0 });
    component.runbook = Some("https://runbooks.example/broker?a=1&b=2".into());
    let mut many = event(EventKind::Direct, Warning, "Order rejected", "max_positions");
    many.count = 17;
    let mut delayed = notice(kill_switch());
    delayed.delay = Some(Duration::from_secs(4 * 60 + 10));
    let mut story = notice(drawdown(EventKind::Opened, Warning, 5.2, "10:01:02"));
    story.story.extend(Story::of(&drawdown(EventKind::Escalated, Critical, 8.1, "10:01:05")));
    let resolved = drawdown(EventKind::Resolved, Critical, 7.1, "10:01:40");
    story.story.extend(Story::of(&resolved));
    story.event = resolved;
    story.delay = Some(Duration::from_mins(10));
    let mut plain = notice(rule(EventKind::Opened, Critical, 8.4));
    plain.plain = true;
    let info = event(EventKind::Direct, Info, "Model retrained", "");
    let test = event(EventKind::Test, Info, "Test alert", "Nothing has happened.");

    let kinds = [
        ("opened", notice(rule(EventKind::Opened, Critical, 8.4))),
        ("opened_component", notice(component)),
        ("escalated", notice(rule(EventKind::Escalated, Critical, 8.4))),
        ("de_escalated", notice(rule(EventKind::DeEscalated, Warning, 7.2))),
        ("updated_stale", notice(updated)),
        ("reminded", notice(rule(EventKind::Reminded, Critical, 8.1))),
        ("flapping", notice(rule(EventKind::Flapping, Warning, 5.1))),
        ("settled", notice(rule(EventKind::Settled, Warning, 5.1))),
        ("resolved", notice(rule(EventKind::Resolved, Critical, 4.2))),
        ("direct", notice(kill_switch())),
        ("direct_info", notice(info)),
        ("several", notice(many)),
        ("delayed", delayed),
        ("test", notice(test)),
        ("story", story),
        ("plain", plain),
    ];
    for (name, notice) in kinds {
        assert_acceptable(&notice);
        let shown = format!("{}\n\n{}\n", slack_payload(&notice), telegram_payload(&notice, CHAT));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/alerts/{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        assert_eq!(shown, fs::read_to_string(&path).unwrap(), "{}", path.display());
    }
}

#[test]
fn the_story_of_an_outage_is_one_line() {
    let mut told = notice(drawdown(EventKind::Opened, AlertSeverity::Warning, 5.2, "10:01:02"));
    told.story.extend(Story::of(&drawdown(EventKind::Escalated, AlertSeverity::Critical, 8.1, "10:01:05")));
    told.story.extend(Story::of(&drawdown(EventKind::Reminded, AlertSeverity::Critical, 8.1, "10:01:30")));
    let resolved = drawdown(EventKind::Resolved, AlertSeverity::Critical, 7.1, "10:01:40");
    told.story.extend(Story::of(&resolved));
    told.event = resolved;
    let line = "opened 10:01:02, critical 10:01:05, resolved 10:01:40, worst 8.4 %";
    assert!(slack_text(&told).lines().any(|shown| shown == line), "{}", slack_text(&told));
    assert!(telegram_text(&told).starts_with("✅ RESOLVED: Drawdown\n"));
    assert!(telegram_text(&told).lines().any(|shown| shown == line));
}

#[test]
fn a_long_story_keeps_its_beginning_and_its_end() {
    let mut told = notice(drawdown(EventKind::Opened, AlertSeverity::Warning, 5.2, "10:00:00"));
    for minute in 1..50 {
        let at = format!("10:{minute:02}:00");
        told.story.extend(Story::of(&drawdown(EventKind::Escalated, AlertSeverity::Critical, 8.1, &at)));
    }
    let text = telegram_text(&told);
    let line = text.lines().find(|line| line.starts_with("opened")).unwrap();
    assert!(
        line.starts_with("opened 10:00:00, critical 10:01:00, 38 more changes, critical 10:40:00"),
        "{line}"
    );
    assert!(line.ends_with("critical 10:49:00, worst 8.4 %"), "{line}");
}

#[test]
fn hostile_text_calls_nobody_and_breaks_nothing() {
    let lone = String::from_utf16_lossy(&[0xd83d, 0x61, 0xde00]);
    let hostile = [
        "<!channel> <@U012> @here S&P -2.51% `code` ```block *bold* _it_ &lt; <https://x|y>".to_owned(),
        "> quoted\n>>> more\r\n\u{2028}> again".to_owned(),
        "\u{202e}txet tfel ot thgir\u{202c} \u{5d0}\u{5d1}\u{5d2} \u{2066}x".to_owned(),
        "NUL \0 bell \u{7} escape \u{1b}[31m delete \u{7f} c1 \u{85}".to_owned(),
        lone,
        "\\ud83d \\\" \\".to_owned(),
        "😀".repeat(2500),
        "&".repeat(10_000),
        "\n".repeat(10_000),
        " ".repeat(100),
        String::new(),
    ];
    for text in hostile {
        for kind in [EventKind::Direct, EventKind::Opened, EventKind::Resolved] {
            let mut event = event(kind, AlertSeverity::Critical, &text, &text);
            event.rule = Some(text.clone());
            event.metadata = vec![(text.clone(), MetadataValue::from(text.as_str())); 3];
            event.labels = vec![("component".into(), text.clone())];
            let mut notice = notice(event);
            assert_acceptable(&notice);
            notice.plain = true;
            assert_acceptable(&notice);
        }
    }
}

#[test]
fn what_is_too_long_loses_metadata_first_then_message_never_severity_title_or_incident() {
    let title = "T".repeat(200);
    let build = |message: usize, metadata: usize| {
        let mut event = drawdown(EventKind::Opened, AlertSeverity::Critical, 8.4, "10:01:02");
        event.title = title.clone();
        event.message = "m".repeat(message);
        event.metadata = vec![("key".into(), MetadataValue::Text("v".repeat(90))); metadata];
        notice(event)
    };
    for (message, metadata) in [(100, 200), (2500, 40), (10_000, 0), (10_000, 200), (2600, 200)] {
        let notice = build(message, metadata);
        assert_acceptable(&notice);
        for text in [slack_text(&notice), telegram_text(&notice)] {
            assert!(text.contains(&title));
            assert!(text.contains("Severity: CRITICAL"));
            assert!(text.contains("Incident: 01HS1Z5Q4W-7"));
            assert!(text.contains("…[cut]"), "a cut is marked: {text}");
            if message < 2600 {
                assert!(
                    text.contains(&"m".repeat(message)),
                    "the message is whole while metadata can give way"
                );
            }
        }
    }
    let cut = slack_text(&build(100, 200));
    assert!(cut.contains("Threshold: > 8 %"), "what the rule knows outlives what the service gave");
    assert!(cut.contains(" more\n"), "how many lines are missing is said");
}

#[test]
fn a_title_of_ten_kilobytes_still_leaves_room_for_the_rest() {
    let mut event = drawdown(EventKind::Opened, AlertSeverity::Critical, 8.4, "10:01:02");
    event.title = "<&>".repeat(4000);
    let notice = notice(event);
    assert_acceptable(&notice);
    assert!(slack_text(&notice).contains("Drawdown is 8.4 %"));
    assert!(telegram_text(&notice).contains("Incident: 01HS1Z5Q4W-7"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_accepted_by_both_services(
        title in any::<String>(),
        message in prop::collection::vec(any::<char>(), 0..5000),
        metadata in prop::collection::vec((any::<String>(), any::<String>()), 0..60),
        resolved in any::<bool>(),
        plain in any::<bool>(),
    ) {
        let kind = if resolved { EventKind::Resolved } else { EventKind::Direct };
        let message: String = message.into_iter().collect();
        let mut event = event(kind, AlertSeverity::Warning, &title, &message);
        event.metadata = metadata.into_iter().map(|(key, value)| (key, MetadataValue::Text(value))).collect();
        let mut notice = notice(event);
        notice.plain = plain;
        assert_acceptable(&notice);
    }
}
