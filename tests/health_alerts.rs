//! Health and alerts together: what is lost pages once, at once where its owner reports it, and not while it may be away.
#![cfg(all(target_os = "linux", feature = "redis"))]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/fake.rs"]
mod fake;
#[path = "support/http.rs"]
mod http;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/process.rs"]
mod process;
#[path = "support/servers.rs"]
mod servers;
#[path = "support/slack.rs"]
mod slack;
#[path = "support/telegram.rs"]
mod telegram;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use desk::{fact, headline, nothing_but, seen, with_slack};
use fake::{Arrival, Fake, Reply};
use jiff::{Timestamp, ToSpan};
use patience::Answers;
use process::{PATIENCE, eventually, service, told, until_told};
use slack::FakeSlack;
use trading_telemetry::alerts::event::{Event, EventKind};
use trading_telemetry::clock::Clock;
use trading_telemetry::health::{Check, Down, Up};
use trading_telemetry::init_telemetry;
use trading_telemetry::settings::{HealthSettings, Settings, Sources};
use trading_telemetry::testing::TestTelemetry;

/// Status, body and time of a GET.
fn get(port: u16, path: &str) -> (u16, String, Duration) {
    let asked = Instant::now();
    let answer = http::request_at(IpAddr::V4(Ipv4Addr::LOCALHOST), port, "GET", path, &[]).unwrap();
    let took = asked.elapsed();
    (answer.status, answer.text().to_owned(), took)
}

fn up(scrape: &str, component: &str) -> Option<bool> {
    let series = format!("trading_component_up{{component=\"{component}\"}} ");
    scrape.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value == "1.0")
}

#[test]
fn a_frozen_redis_is_a_zero_one_alert_and_one_resolve_and_no_answer_waits_for_it() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        until_told();
        telemetry.shutdown().unwrap();
    });
    let Some(redis) = servers::redis("c0rrect-h0rse", None) else { return };
    let slack = FakeSlack::start();
    let (timeout, interval) = (Duration::from_secs(2), Duration::from_millis(500));
    let service = with_slack(service, &slack).settings(&format!(
        "health: {{checks: {{redis: {{kind: redis, url: 'redis://:c0rrect-h0rse@127.0.0.1:{}', critical: true, \
         timeout_seconds: 2, interval_seconds: 0.5}}}}}}",
        redis.port
    ));
    let running = service.start(&[]);
    let port = service.port();
    eventually("a service that is ready", || {
        let answers = http::connect(port).is_ok();
        // The scrape follows the answer within a moment.
        (answers && get(port, "/ready").0 == 200 && up(&get(port, "/metrics").1, "redis") == Some(true))
            .then_some(())
    });

    redis.freeze();
    let frozen = Instant::now();
    let mut answers = Answers::default();
    let mut ask = |path: &str| {
        let (status, body, took) = get(port, path);
        answers.add(path, took);
        (status, body)
    };
    while up(&ask("/metrics").1, "redis") == Some(true) {
        ask("/ready");
        assert!(frozen.elapsed() < PATIENCE, "redis is frozen and up");
    }
    let seen_down = frozen.elapsed();
    // Time for a busy machine on top.
    assert!(seen_down < timeout + interval + Duration::from_secs(10), "{seen_down:?}");
    let (status, ready) = ask("/ready");
    assert_eq!(status, 503, "{ready}");
    assert!(ready.contains("no answer within 2s"), "{ready}");

    let alert = seen(&slack, 1).remove(0);
    let [lost, back] = ["⚠️ WARNING: Component Down: redis", "✅ RESOLVED: Component Down: redis"];
    assert_eq!(headline(&alert), lost);
    assert_eq!(fact(&alert, "Last Error").as_deref(), Some("no answer within 2s"));
    // Two more checks fail, and nobody needs to hear of it.
    let until = Instant::now() + 2 * (timeout + interval);
    while Instant::now() < until {
        ask("/metrics");
        ask("/ready");
        sleep(Duration::from_millis(50));
    }
    answers.assert_none_waits(timeout);
    nothing_but(&slack, &[lost]);

    redis.thaw();
    let resolved = seen(&slack, 2).remove(1);
    assert_eq!(fact(&resolved, "Incident"), fact(&alert, "Incident"));
    assert_eq!((up(&get(port, "/metrics").1, "redis"), get(port, "/ready").0), (Some(true), 200));
    nothing_but(&slack, &[lost, back]);
    assert_eq!(slack.problems(), Vec::<String>::new());
    running.finish();
}

/// A server that is called after each evaluation.
struct Evaluations;

impl fake::Service for Evaluations {
    fn answer(&mut self, _: &Arrival) -> (Reply, bool) {
        (Reply::new(200, "ok"), true)
    }
}

#[test]
fn a_session_that_reports_its_loss_is_posted_before_the_next_evaluation_past_checks_that_hang() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let health = telemetry.health();
        for number in 0..25 {
            let hang = move || async move {
                if number % 5 == 0 {
                    sleep(Duration::from_mins(1));
                }
                std::future::pending::<Result<(), String>>().await
            };
            health.add(Check::new(format!("hang{number}"), hang).interval(Duration::from_millis(100)));
        }
        health.declare("broker", true);
        health.report("broker", Up);
        for word in ["lost", "back"] {
            assert_eq!(told(), word);
            health.report("broker", if word == "lost" { Down("socket closed") } else { Up });
        }
        until_told();
        telemetry.shutdown().unwrap();
    });
    let (slack, evaluated) = (FakeSlack::start(), Fake::start(Evaluations));
    let service = with_slack(service, &slack)
        .variable("SA_ALERTS__EVALUATION_INTERVAL_SECONDS", "12")
        .variable("SA_ALERTS__HEARTBEAT_URL", &evaluated.base_url())
        .variable("SA_ALERTS__HEARTBEAT_INTERVAL_SECONDS", "0.1");
    let mut running = service.start(&[]);
    let port = service.port();
    // Right after an evaluation the next one is farthest.
    let evaluations = evaluated.arrivals().len();
    eventually("an evaluation", || (evaluated.arrivals().len() > evaluations).then_some(()));
    eventually("the broker on the scrape", || up(&get(port, "/metrics").1, "broker"));

    let [lost, back] = ["⚠️ CRITICAL: Broker Connection Lost", "✅ RESOLVED: Broker Connection Lost"];
    let reported = Instant::now();
    running.tell("lost");
    let posted = seen(&slack, 1).remove(0);
    assert_eq!(headline(&posted), lost);
    assert_eq!(fact(&posted, "Last Error").as_deref(), Some("socket closed"));
    assert_eq!(up(&get(port, "/metrics").1, "broker"), Some(false));
    assert_eq!(get(port, "/ready").0, 503);
    let between: Vec<_> = evaluated
        .arrivals()
        .iter()
        .filter(|evaluation| evaluation.at > reported && evaluation.at < posted.at)
        .map(|evaluation| evaluation.at - reported)
        .collect();
    assert!(
        between.is_empty(),
        "{between:?} before it was posted, {:?} after the report",
        posted.at - reported
    );
    assert!(posted.at - reported < Duration::from_secs(5), "{:?}", posted.at - reported);
    running.tell("back");
    seen(&slack, 2);
    nothing_but(&slack, &[lost, back]);
    running.finish();
}

fn settings(yaml: &str) -> HealthSettings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, yaml).unwrap();
    Settings::load(&Sources::empty().file(file).program("test")).unwrap().settings.health
}

/// A desk in New York whose clock the test moves.
fn new_york(start: &str) -> TestTelemetry {
    let telemetry = TestTelemetry::builder()
        .health(settings(
            "health: {hours: {timezone: America/New_York, holidays: [2024-03-29]}, \
             maintenance: {broker: [\"23:45-00:45\"]}}",
        ))
        .build();
    telemetry.clock().jump_wall(at(start));
    telemetry
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What the engine tells until the wall clock shows this: each quarter of an hour, and each of the last ten minutes.
/// `each` is called before each evaluation.
fn told_until(telemetry: &TestTelemetry, end: &str, mut each: impl FnMut(Timestamp)) -> Vec<(String, Event)> {
    let mut told = Vec::new();
    loop {
        let left = at(end).duration_since(telemetry.clock().wall()).unsigned_abs();
        if left.is_zero() {
            return told;
        }
        let end_is_near = left <= Duration::from_mins(10);
        let step = Duration::from_mins(if end_is_near { 1 } else { 15 });
        telemetry.clock().advance(step.min(left));
        let now = telemetry.clock().wall();
        each(now);
        told.extend(telemetry.evaluate_alerts().into_iter().map(|event| (now.to_string(), event)));
    }
}

fn kinds(told: &[(String, Event)]) -> Vec<(&str, EventKind, &str)> {
    told.iter().map(|(at, event)| (at.as_str(), event.kind, event.title.as_str())).collect()
}

#[test]
fn a_feed_that_is_away_over_a_change_of_daylight_saving_pages_nobody_until_the_open_and_then_once() {
    // Both weekends; the open moves from 14:30 to 13:30 UTC and back.
    for (close, evening, open, later, back) in [
        (
            "2024-03-08T20:59:00Z",
            "2024-03-08T21:01:00Z",
            "2024-03-11T13:30:00Z",
            "2024-03-11T13:35:00Z",
            "2024-03-11T13:45:00Z",
        ),
        (
            "2024-11-01T19:59:00Z",
            "2024-11-01T20:01:00Z",
            "2024-11-04T14:30:00Z",
            "2024-11-04T14:35:00Z",
            "2024-11-04T14:45:00Z",
        ),
    ] {
        let telemetry = new_york(close);
        let health = telemetry.health();
        health.report("feed", Up);
        assert_eq!(kinds(&told_until(&telemetry, evening, |_| ())), []);
        health.report("feed", Down("no ticks"));
        let before = at(open).checked_sub(1.minute()).unwrap().to_string();
        assert_eq!(kinds(&told_until(&telemetry, &before, |_| ())), [], "away, as it should be");
        assert!(telemetry.scrape().contains("trading_component_up{component=\"feed\"} 0.0\n"));

        let told = told_until(&telemetry, later, |_| ());
        assert_eq!(kinds(&told), [(open, EventKind::Opened, "Market Feed Lost")]);
        health.report("feed", Up);
        let told = told_until(&telemetry, back, |_| ());
        assert_eq!(told.iter().map(|(_, event)| event.kind).collect::<Vec<_>>(), [EventKind::Resolved]);
    }
}

#[test]
fn a_feed_that_is_away_on_a_holiday_pages_at_the_next_open() {
    let telemetry = new_york("2024-03-28T20:00:00Z");
    telemetry.health().report("feed", Down("no ticks"));
    assert_eq!(kinds(&told_until(&telemetry, "2024-04-01T13:29:00Z", |_| ())), []);
    let told = told_until(&telemetry, "2024-04-01T13:35:00Z", |_| ());
    assert_eq!(kinds(&told), [("2024-04-01T13:30:00Z", EventKind::Opened, "Market Feed Lost")]);
}

#[test]
fn a_brokers_nightly_maintenance_pages_nobody_and_one_that_does_not_end_pages_once() {
    let telemetry = new_york("2024-03-07T17:00:00Z");
    let health = telemetry.health();
    health.report("broker", Up);
    // Gone from 23:45 to 00:30 each night, over the change of daylight saving on the 10th.
    let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
    let told = told_until(&telemetry, "2024-03-12T03:00:00Z", |now| {
        match now.to_zoned(zone.clone()).strftime("%H:%M").to_string().as_str() {
            "23:45" => health.report("broker", Down("nightly reset")),
            "00:30" => health.report("broker", Up),
            _ => {}
        }
    });
    assert_eq!(kinds(&told), []);
    assert!(health.component("broker").unwrap().last_error.is_some(), "it was away");
    assert_eq!(kinds(&told_until(&telemetry, "2024-03-12T03:46:00Z", |_| ())), []);
    health.report("broker", Down("nightly reset"));
    assert_eq!(kinds(&told_until(&telemetry, "2024-03-12T04:44:00Z", |_| ())), []);
    let told = told_until(&telemetry, "2024-03-12T04:50:00Z", |_| ());
    // 00:45 in New York's summer.
    assert_eq!(kinds(&told), [("2024-03-12T04:45:00Z", EventKind::Opened, "Broker Connection Lost")]);
}

/// The same where a check finds it, with the two seconds that a poll needs to be believed.
#[test]
fn a_feed_that_a_check_finds_away_pages_after_the_open_once() {
    let telemetry = new_york("2024-03-08T20:00:00Z");
    let is_up = Arc::new(AtomicBool::new(true));
    let answer = Arc::clone(&is_up);
    let check = Check::new("feed", move || {
        let is_up = answer.load(Ordering::SeqCst);
        async move { if is_up { Ok(()) } else { Err("no ticks") } }
    });
    telemetry.health().add(check.interval(Duration::from_millis(5)).timeout(Duration::from_mins(1)));
    let mut told = Vec::new();
    for (now, lives) in [
        ("2024-03-08T20:59:50Z", true),
        ("2024-03-08T21:00:10Z", false),
        ("2024-03-09T15:00:00Z", false),
        ("2024-03-10T08:00:00Z", false),
        ("2024-03-11T13:29:59Z", false),
        ("2024-03-11T13:30:00Z", false),
        ("2024-03-11T13:30:01Z", false),
        ("2024-03-11T13:30:02Z", false),
        ("2024-03-11T13:30:03Z", false),
        ("2024-03-11T13:40:00Z", false),
    ] {
        is_up.store(lives, Ordering::SeqCst);
        telemetry.clock().advance(at(now).duration_since(telemetry.clock().wall()).unsigned_abs());
        eventually("a check at this time", || {
            let feed = telemetry.health().component("feed")?;
            (feed.age == Some(Duration::ZERO) && feed.is_up() == lives).then_some(())
        });
        told.extend(telemetry.evaluate_alerts().into_iter().map(|event| (now.to_owned(), event)));
    }
    assert_eq!(kinds(&told), [("2024-03-11T13:30:02Z", EventKind::Opened, "Market Feed Lost")]);
}

#[test]
fn a_report_confirms_what_a_check_has_just_found_and_pages_at_once() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    health.add(Check::new("broker", || async { Err::<(), _>("refused") }).timeout(Duration::from_mins(1)));
    eventually("a loss that a check found", || health.component("broker")?.age);
    assert_eq!(telemetry.evaluate_alerts().len(), 0, "a poll has to be sure for two seconds");
    health.report("broker", Down("socket closed"));
    assert_eq!(telemetry.evaluate_alerts().len(), 1);
}

/// The texts of an event's metadata, by key.
fn why(event: &Event) -> Vec<(&str, String)> {
    event.metadata.iter().map(|(key, value)| (key.as_str(), value.to_string())).collect()
}

#[test]
fn an_alert_says_why_the_component_is_down_without_secrets_and_keeps_up_with_it() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    health.report("broker", Down("no route to tws://desk:hunter2@10.0.0.7, password=hunter2"));
    let opened = telemetry.evaluate_alerts().remove(0);
    let told = why(&opened);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "last_error");
    assert!(told[0].1.starts_with("no route to tws://") && !told[0].1.contains("hunter2"), "{told:?}");
    assert_eq!(opened.message, "The connection to the broker (IBKR) is down");

    health.report("broker", Down("refused"));
    telemetry.clock().advance(Duration::from_mins(30));
    let reminded = telemetry.evaluate_alerts().remove(0);
    assert_eq!(
        (reminded.kind, why(&reminded)),
        (EventKind::Reminded, vec![("last_error", "refused".into())])
    );
}

#[test]
fn with_nothing_configured_nothing_alarms() {
    let telemetry = TestTelemetry::new();
    for _ in 0..60 {
        telemetry.clock().advance(Duration::from_mins(10));
        let told: Vec<String> = telemetry.evaluate_alerts().into_iter().map(|event| event.title).collect();
        assert_eq!(told, [""; 0]);
    }
}
