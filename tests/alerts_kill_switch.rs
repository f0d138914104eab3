//! The kill switch from the call to the message, with each service in a process of its own.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/fake.rs"]
mod fake;
#[path = "support/process.rs"]
mod process;
#[path = "support/slack.rs"]
mod slack;
#[path = "support/telegram.rs"]
mod telegram;

use std::thread::sleep;
use std::time::{Duration, Instant};

use desk::{fact, headline, nothing_but, seen, text, with_slack, with_telegram};
use fake::{Act, Arrival, Fake, Limiter, Reply};
use jiff::Timestamp;
use process::{eventually, service, told, until_told};
use slack::FakeSlack;
use telegram::FakeTelegram;
use trading_telemetry::alerts::event::{AlertSeverity, MetadataValue};
use trading_telemetry::init_telemetry;
use trading_telemetry::opentelemetry::KeyValue;

const ACTIVATED: &str = "\u{26a0}\u{fe0f} CRITICAL: Kill Switch Activated";

/// A server that is called after each evaluation.
struct Heartbeat;

impl fake::Service for Heartbeat {
    fn answer(&mut self, _: &Arrival) -> (Reply, bool) {
        (Reply::new(200, "ok"), true)
    }
}

#[test]
fn it_is_posted_before_the_next_evaluation_past_a_hung_telegram_and_a_thousand_open_incidents() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let depth = telemetry.meter("desk").f64_gauge("desk.queue_depth").build();
        for queue in 0..1000 {
            depth.record(500.0, &[KeyValue::new("queue", queue)]);
        }
        assert_eq!(told(), "trip");
        telemetry.audit().kill_switch_on("VIX > 35", [("vix", 38.5.into())]);
        until_told();
        // The thousand are for the next start.
        let _ = telemetry.shutdown_within(Duration::from_millis(100));
    });
    let (slack, telegram, evaluated) = (FakeSlack::start(), FakeTelegram::start(), Fake::start(Heartbeat));
    telegram.fake.always(Act::Silence);
    let service = with_telegram(with_slack(service, &slack), &telegram)
        .variable("SA_ALERTS__EVALUATION_INTERVAL_SECONDS", "12")
        .variable("SA_ALERTS__HEARTBEAT_URL", &evaluated.base_url())
        .variable("SA_ALERTS__HEARTBEAT_INTERVAL_SECONDS", "0.1")
        .variable("SA_ALERTS__QUEUE_MESSAGES", "5000")
        .file(
            "config/alerts.yaml",
            "metrics: {desk_queue_depth: {type: gauge, labels: [queue]}}\n\
             rules: {queue: {metric: desk_queue_depth, when: above, warning: 100, title: 'Queue {label.queue}'}}\n",
        );
    let mut running = service.start(&[]);
    seen(&slack, 1);
    eventually("a hung Telegram", || telegram.fake.arrivals().pop());
    let tripped = Instant::now();
    running.tell("trip");
    let posted = eventually("the kill switch", || {
        slack.fake.accepted().into_iter().find(|arrival| headline(arrival) == ACTIVATED)
    });
    let between: Vec<_> = evaluated
        .arrivals()
        .iter()
        .filter(|evaluation| evaluation.at > tripped && evaluation.at < posted.at)
        .map(|evaluation| evaluation.at - tripped)
        .collect();
    assert_eq!(between, [], "posted {:?} after it was told", posted.at - tripped);
    assert!(posted.at - tripped < Duration::from_secs(10), "{:?}", posted.at - tripped);
    let all: usize = eventually("a thousand incidents", || {
        let seen = slack.fake.accepted().len();
        (seen >= 1001).then_some(seen)
    });
    assert_eq!(all, 1001, "one message for each incident");
    assert_eq!(slack.problems(), Vec::<String>::new());
    running.finish();
}

#[test]
fn at_the_real_pace_it_is_one_of_the_next_two_posts_whatever_flood_of_critical_alerts_waits() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        for number in 0..200 {
            let (title, none) = (format!("Order {number} failed"), [("venue", "ARCA".into())]);
            telemetry.alerts().send_alert(AlertSeverity::Critical, title, "no route", none);
        }
        assert_eq!(told(), "trip");
        telemetry.audit().kill_switch_on("VIX > 35", [("vix", 38.5.into())]);
        until_told();
        // The flood is for the next start.
        let _ = telemetry.shutdown_within(Duration::from_millis(100));
    });
    // What it is sent beyond three at once and one a second it answers with a ban.
    let slack = FakeSlack::with_limit(Some(Limiter::new(3, Duration::from_secs(1), Duration::from_mins(5))));
    let service = service.variable("SLACK_WEBHOOK_URL", &slack.webhook_url());
    let mut running = service.start(&[]);
    seen(&slack, 6);
    running.tell("trip");
    let is_kill_switch = |arrival: &Arrival| headline(arrival) == ACTIVATED;
    eventually("the kill switch", || slack.fake.accepted().into_iter().find(is_kill_switch));
    seen(&slack, slack.fake.accepted().len() + 3);

    let log = service.log();
    let tripped: Timestamp =
        process::events(&log, "kill_switch_activated")[0]["timestamp"].as_str().unwrap().parse().unwrap();
    let (now, wall) = (Instant::now(), Timestamp::now());
    let posts = slack.fake.arrivals();
    let mut since = posts.iter().filter(|post| wall - (now - post.at) > tripped);
    let place = since.position(is_kill_switch);
    assert!(place.is_some_and(|place| place < 2), "post {place:?} since it was tripped, of {}", posts.len());
    assert!(posts.iter().all(|post| post.accepted), "the pace holds");
    assert!(posts.len() < 100, "the flood is still there: {}", posts.len());
    assert_eq!(slack.problems(), Vec::<String>::new());
    running.finish();
}

#[test]
fn one_message_with_the_reason_however_many_calls_tell_of_it() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let vix = || [("vix", MetadataValue::from(38.5)), ("timestamp", "2024-03-15T14:32:00Z".into())];
        let reason = "Trading halted due to circuit breaker: VIX > 35";
        let alerts = telemetry.alerts();
        alerts.send_alert(AlertSeverity::Critical, "Kill Switch Activated", "VIX > 35", vix());
        telemetry.audit().kill_switch_on(reason, vix());
        alerts.send_alert(AlertSeverity::Critical, "Kill Switch Activated", "VIX > 35", vix());
        assert_eq!(told(), "by hand");
        telemetry.audit().kill_switch_off("all clear");
        assert_eq!(told(), "off");
        // With no kill switch on, it is an alert like any other.
        alerts.send_alert(AlertSeverity::Critical, "Kill Switch Activated", reason, vix());
        until_told();
        telemetry.shutdown().unwrap();
    });
    let (slack, telegram) = (FakeSlack::start(), FakeTelegram::start());
    let service = with_telegram(with_slack(service, &slack), &telegram);
    let mut running = service.start(&[]);

    let opened = seen(&slack, 1).remove(0);
    let beginning = "*Kill Switch Activated*\n\nTrading halted due to circuit breaker: VIX > 35\n\n*Metadata:*\n\
                     • VIX: 38.5\n• Timestamp: 2024-03-15T14:32:00Z\n";
    assert!(text(&opened).starts_with(beginning), "{}", text(&opened));
    assert_eq!(fact(&opened, "Severity").as_deref(), Some("CRITICAL"));
    assert_eq!(fact(&opened, "Service").as_deref(), Some("desk"));
    assert!(fact(&opened, "Instance").is_some_and(|instance| !instance.is_empty()), "{}", text(&opened));
    let incident = fact(&opened, "Incident").unwrap();
    nothing_but(&slack, &[ACTIVATED]);

    running.tell("by hand");
    let resolved = seen(&slack, 2).remove(1);
    assert_eq!(headline(&resolved), "✅ RESOLVED: Kill Switch Activated");
    assert_eq!(fact(&resolved, "Incident"), Some(incident));
    assert_eq!(fact(&resolved, "Service").as_deref(), Some("desk"));
    assert!(fact(&resolved, "Instance").is_some() && fact(&resolved, "Duration").is_some());

    running.tell("off");
    let direct = seen(&slack, 3).remove(2);
    let expected = concat!(
        "{\"text\":\"\u{26a0}\u{fe0f} CRITICAL: Kill Switch Activated\",",
        "\"blocks\":[{\"type\":\"section\",\"text\":{\"type\":\"mrkdwn\",",
        "\"text\":\"*Kill Switch Activated*\\n\\nTrading halted due to circuit breaker: VIX > 35\\n\\n",
        "*Metadata:*\\n• VIX: 38.5\\n• Timestamp: 2024-03-15T14:32:00Z\"}}]}"
    );
    assert_eq!(without_spaces_between(&direct.body), expected);
    let telegrams = eventually("three in Telegram", || {
        let accepted = telegram.fake.accepted();
        (accepted.len() >= 3).then_some(accepted)
    });
    let message: serde_json::Value = serde_json::from_str(&telegrams[2].body).unwrap();
    assert_eq!(
        message["text"],
        "🔴 CRITICAL: Kill Switch Activated\nTrading halted due to circuit breaker: VIX > 35\nMetadata:\n\
         • VIX: 38.5\n• Timestamp: 2024-03-15T14:32:00Z"
    );
    nothing_but(&slack, &[ACTIVATED, "✅ RESOLVED: Kill Switch Activated", ACTIVATED]);
    assert_eq!(telegram.fake.accepted().len(), 3);
    assert_eq!((slack.problems(), telegram.problems()), (Vec::new(), Vec::new()));
    running.finish();
}

/// JSON without the spaces between its tokens; those in strings stay.
fn without_spaces_between(json: &str) -> String {
    json.replace("\": ", "\":").replace(", \"", ",\"")
}

#[test]
fn a_kill_and_a_restart_neither_resolve_it_nor_open_it_again() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        match told().as_str() {
            "trip" => telemetry.audit().kill_switch_on("VIX > 35", [("vix", 38.5.into())]),
            // As a service that finds it on in its own records.
            "still" => telemetry.metrics().risk().kill_switch(true),
            other => panic!("{other}"),
        }
        assert_eq!(told(), "off");
        telemetry.audit().kill_switch_off("all clear");
        until_told();
        telemetry.shutdown().unwrap();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack);
    let mut running = service.start(&[]);
    running.tell("trip");
    seen(&slack, 1);
    // Its acceptance, and the open incident, reach the disk.
    sleep(Duration::from_secs(1));
    running.kill();

    let mut running = service.start(&[]);
    eventually("a start", || (process::events(&service.log(), "telemetry_started").len() == 2).then_some(()));
    sleep(Duration::from_secs(10));
    assert_eq!(slack.fake.accepted().len(), 1, "the zeros of a start say nothing");
    running.tell("still");
    sleep(Duration::from_secs(2));
    nothing_but(&slack, &[ACTIVATED]);
    running.tell("off");
    let both = seen(&slack, 2);
    assert_eq!(headline(&both[1]), "✅ RESOLVED: Kill Switch Activated");
    assert_eq!(fact(&both[0], "Incident"), fact(&both[1], "Incident"));
    nothing_but(&slack, &[ACTIVATED, "✅ RESOLVED: Kill Switch Activated"]);
    running.finish();
}
