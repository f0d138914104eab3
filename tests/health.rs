//! Health as a service meets it: checks, heartbeats, reports, `/health` and `/ready`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trading_telemetry::health::{Check, CheckFailure, Down, Health, HealthCheck, Http, Status, Tcp, Up};
use trading_telemetry::settings::{CheckKind, CheckSettings, HealthSettings, Settings, Sources};
use trading_telemetry::testing::TestTelemetry;

#[path = "support/mounted.rs"]
mod mounted;
#[path = "support/patience.rs"]
mod patience;

use mounted::{get, get_json};
use patience::eventually;

const SOON: Duration = Duration::from_millis(20);

fn is_up(health: &Health, component: &str) -> bool {
    health.component(component).is_some_and(|component| component.is_up())
}

fn error(health: &Health, component: &str) -> Option<String> {
    health.component(component).filter(|component| component.status == Status::Down)?.last_error
}

fn settings(yaml: &str) -> HealthSettings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, yaml).unwrap();
    Settings::load(&Sources::empty().file(file).program("test")).unwrap().settings.health
}

#[test]
fn with_nothing_configured_nothing_is_checked_and_all_is_ready() {
    let telemetry = TestTelemetry::new();
    assert!(telemetry.health().components().is_empty());
    assert!(telemetry.health().is_ready());
    assert!(!telemetry.scrape().contains("\ntrading_component_up{"));
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!(
        (status, &body["status"], &body["components"]),
        (200, &"ready".into(), &serde_json::json!({}))
    );
    let (status, body) = get_json(&telemetry.service(), "/health");
    assert_eq!((status, &body["status"], &body["service"]), (200, &"alive".into(), &"test".into()));
}

#[test]
fn a_report_is_on_the_scrape_and_in_the_json_at_once() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    health.declare("broker", true);
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!(
        (status, &body["components"]["broker"]["status"]),
        (503, &"unknown".into()),
        "nobody knows yet"
    );
    health.report("broker", Up);
    assert_eq!(get_json(&telemetry.service(), "/ready").0, 200);

    health.report("broker", Down("socket closed"));
    telemetry.clock().advance(Duration::from_millis(1500));
    assert!(telemetry.scrape().contains("trading_component_up{component=\"broker\"} 0.0\n"));
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!((status, &body["status"]), (503, &"not_ready".into()));
    let broker = &body["components"]["broker"];
    assert_eq!((&broker["status"], &broker["critical"]), (&"down".into(), &true.into()));
    assert_eq!((&broker["last_error"], &broker["age_seconds"]), (&"socket closed".into(), &1.5.into()));
    let known = health.component("broker").unwrap();
    assert!(known.reported && known.pages && known.interval.is_none());
    assert_eq!(get_json(&telemetry.service(), "/health").0, 200, "the process lives all the same");

    health.report("broker", Up);
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!((status, &body["components"]["broker"]["last_error"]), (200, &"socket closed".into()));
    assert_eq!(body["components"]["broker"]["last_success"], "2024-03-15T12:00:01.500Z");
    assert!(telemetry.scrape().contains("trading_component_up{component=\"broker\"} 1.0\n"));
}

#[test]
fn a_session_reported_down_stays_down_though_its_port_answers() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    health.add(Check::new("broker", Tcp::new(address.to_string()).unwrap()).interval(SOON));
    eventually("the port answers", || is_up(health, "broker"));
    health.report("broker", Down("session expired"));
    std::thread::sleep(5 * SOON);
    assert_eq!(error(health, "broker").as_deref(), Some("session expired"));
    health.report("broker", Up);
    assert!(is_up(health, "broker"));

    drop(listener);
    // The first may have been on its way still, and is reset.
    eventually("a check finds a loss by itself", || {
        error(health, "broker").is_some_and(|error| error.contains("refused"))
    });
}

#[test]
fn checks_that_hang_take_nobody_elses_time() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let every = Duration::from_millis(200);
    let counts: Vec<Arc<AtomicUsize>> = (0..25)
        .map(|number| {
            let count = Arc::new(AtomicUsize::new(0));
            let mine = Arc::clone(&count);
            let good = move || {
                mine.fetch_add(1, Ordering::SeqCst);
                async { Ok::<(), String>(()) }
            };
            health.add(Check::new(format!("good{number}"), good).interval(every));
            // Every fifth does not even await: it blocks its thread.
            let hang = move || async move {
                if number % 5 == 0 {
                    std::thread::sleep(Duration::from_secs(20));
                }
                std::future::pending::<Result<(), String>>().await
            };
            let hang = Check::new(format!("hang{number}"), hang);
            health.add(hang.interval(every).timeout(Duration::from_secs(1)));
            count
        })
        .collect();
    eventually("all have begun", || counts.iter().all(|count| count.load(Ordering::SeqCst) > 0));
    let before: Vec<usize> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    let due = start.elapsed().as_millis() / every.as_millis();
    for (count, before) in counts.iter().zip(before) {
        let ran = count.load(Ordering::SeqCst) - before;
        assert!((due / 2..=due + 2).contains(&(ran as u128)), "{ran} of {due}");
    }
    for number in 0..25 {
        assert!(is_up(health, &format!("good{number}")));
        let reason = error(health, &format!("hang{number}")).unwrap();
        assert!(
            reason.starts_with("no answer within 1s") || reason.contains("blocks its thread"),
            "{reason}"
        );
    }
}

#[test]
fn a_check_is_never_started_beside_itself() {
    struct Slow(Arc<AtomicUsize>, Arc<AtomicUsize>);

    impl HealthCheck for Slow {
        fn component(&self) -> &'static str {
            "slow"
        }
        fn timeout(&self) -> Option<Duration> {
            Some(Duration::from_millis(20))
        }
        fn interval(&self) -> Option<Duration> {
            Some(Duration::from_millis(10))
        }
        async fn check(&self) -> Result<(), CheckFailure> {
            let Self(inside, most) = self;
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(600));
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    }

    let telemetry = TestTelemetry::new();
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    telemetry.health().add(Slow(inside, Arc::clone(&most)));
    eventually("it is told", || {
        error(telemetry.health(), "slow").is_some_and(|reason| reason.contains("blocks its thread"))
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_panic_in_a_check_is_its_failure_and_nobody_elses() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let broken =
        || async { if true { panic!("no session at redis://u:hush@h/") } else { Ok::<(), String>(()) } };
    health.add(Check::new("broken", broken).interval(SOON));
    health.add(Check::new("good", || async { Ok::<(), String>(()) }).interval(SOON));
    eventually("the panic is told", || error(health, "broken").is_some());
    let told = error(health, "broken").unwrap();
    assert_eq!(told, "the check panicked: no session at redis://[REDACTED]@h/");
    eventually("the other runs", || is_up(health, "good"));
}

#[test]
fn a_heart_that_beats_late_is_down_and_is_back_with_the_next_beat() {
    let telemetry = TestTelemetry::builder()
        .health(settings(
            "health: {checks: {feed: {kind: heartbeat, late_after_seconds: 0.1, critical: true}}}",
        ))
        .build();
    let (health, clock) = (telemetry.health(), telemetry.clock());
    assert_eq!(health.component("feed").unwrap().status, Status::Unknown);
    assert!(!health.is_ready());
    eventually("silence from the start is a loss", || error(health, "feed").is_some());
    assert_eq!(error(health, "feed").unwrap(), "no beat since the start, one is due every 100ms");

    let feed = health.heartbeat("feed");
    feed.beat();
    assert!(is_up(health, "feed"), "at once, not at the next check");
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_up(health, "feed"), "time stands still in this test");
    clock.advance(Duration::from_millis(101));
    eventually("it is late", || !is_up(health, "feed"));
    assert!(error(health, "feed").unwrap().starts_with("no beat for 0.1 s"));
    feed.beat();
    assert!(is_up(health, "feed"));
    assert!(health.component("feed").unwrap().critical, "it is still that of the settings");
}

#[test]
fn without_a_result_for_three_intervals_a_component_is_stale_and_nothing_is_ready() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let check = Check::new("vault", || async { Ok::<(), String>(()) }).critical(true);
    health.add(check.interval(Duration::from_mins(10)).timeout(Duration::from_secs(1)));
    eventually("it is up", || is_up(health, "vault"));
    telemetry.clock().advance(Duration::from_mins(30));
    assert!(health.is_ready());
    telemetry.clock().advance(Duration::from_secs(1));
    assert_eq!(health.component("vault").unwrap().status, Status::Stale);
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!((status, &body["components"]["vault"]["status"]), (503, &"stale".into()));
    assert_eq!(body["components"]["vault"]["age_seconds"], 1801.0);
}

#[test]
fn what_is_not_critical_is_shown_and_stops_nothing() {
    let telemetry = TestTelemetry::new();
    telemetry.health().report("news", Down("no headlines"));
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!((status, &body["components"]["news"]["status"]), (200, &"down".into()));
    assert!(!telemetry.health().component("news").unwrap().pages);
    telemetry.health().report("broker", Down("gone"));
    assert!(telemetry.health().component("broker").unwrap().pages, "the broker always does");
}

/// New York, March 2024: summer time from the 10th, Good Friday on the 29th, and the broker's nightly restart.
#[test]
fn outside_hours_and_in_maintenance_a_loss_is_a_zero_and_no_page_until_they_end() {
    let telemetry = TestTelemetry::builder()
        .health(settings(
            "health:
  hours: {timezone: America/New_York, holidays: [2024-03-29]}
  maintenance: {broker: [\"23:45-00:45\"]}
  checks: {execution: {kind: heartbeat, late_after_seconds: 3600, critical: true, only_in_hours: true}}",
        ))
        .build();
    let health = telemetry.health();
    for component in ["feed", "broker", "redis", "execution"] {
        health.declare(component, true);
        health.report(component, Down("away"));
    }
    let scrape = telemetry.scrape();
    let pages = |at: &str| -> Vec<String> {
        telemetry.clock().jump_wall(at.parse().unwrap());
        let components = health.components().into_iter();
        components.filter(|component| component.pages).map(|component| component.name).collect()
    };
    for (at, expected, when) in [
        ("2024-03-08T14:29:59Z", "broker redis", "09:29:59 in winter"),
        ("2024-03-08T14:30:00Z", "broker execution feed redis", "still down at the open"),
        ("2024-03-11T13:30:00Z", "broker execution feed redis", "the open in summer, an hour earlier"),
        ("2024-03-11T13:29:59Z", "broker redis", "a second before"),
        ("2024-03-11T20:00:00Z", "broker redis", "the close"),
        ("2024-03-29T15:00:00Z", "broker redis", "Good Friday"),
        ("2024-03-30T15:00:00Z", "broker redis", "Saturday"),
        ("2024-03-12T03:45:00Z", "redis", "23:45 in summer: maintenance"),
        ("2024-03-12T04:44:59Z", "redis", "00:44:59"),
        ("2024-03-12T04:45:00Z", "broker redis", "still down when it ends"),
        ("2024-03-08T04:50:00Z", "redis", "23:50 in winter"),
    ] {
        assert_eq!(pages(at).join(" "), expected, "{when}");
    }
    for component in ["feed", "broker", "redis", "execution"] {
        assert!(
            scrape.contains(&format!("trading_component_up{{component=\"{component}\"}} 0.0\n")),
            "{component}"
        );
    }
}

#[test]
fn what_may_be_away_does_not_make_the_system_unready() {
    let telemetry =
        TestTelemetry::builder().health(settings("health: {hours: {timezone: America/New_York}}")).build();
    telemetry.health().declare("feed", true);
    telemetry.health().report("feed", Down("no ticks"));
    telemetry.clock().jump_wall("2024-03-16T15:00:00Z".parse().unwrap());
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!((status, &body["components"]["feed"]["may_be_away"]), (200, &true.into()), "Saturday");
    telemetry.clock().jump_wall("2024-03-18T15:00:00Z".parse().unwrap());
    assert_eq!(get_json(&telemetry.service(), "/ready").0, 503, "Monday");
}

/// Answers every request with this status line and headers.
fn http_server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream.write_all(
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes(),
            );
        }
    });
    address
}

#[test]
fn http_is_up_with_the_expected_status_alone() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let url = |answer| format!("http://probe:hush@{}/v1/health?token=hush", http_server(answer));
    let check = |name: &str, http: Http| health.add(Check::new(name, http).interval(SOON));
    check("good", Http::new(url("204 No Content")).unwrap());
    check("bad", Http::new(url("500 Internal Server Error")).unwrap());
    check("moved", Http::new(url("302 Found\r\nlocation: http://127.0.0.1:1/")).unwrap());
    check("expected", Http::new(url("401 Unauthorized")).unwrap().expect_status(401).unwrap());
    check("refused", Http::new("http://probe:hush@127.0.0.1:1/v1?token=hush".to_owned()).unwrap());
    eventually("all are asked", || {
        let components = health.components();
        components.len() == 5 && components.iter().all(|component| component.status != Status::Unknown)
    });
    assert!(is_up(health, "good") && is_up(health, "expected"));
    assert_eq!(error(health, "bad").unwrap(), "answered 500 where 2xx is expected");
    assert_eq!(error(health, "moved").unwrap(), "answered 302 where 2xx is expected");
    let refused = error(health, "refused").unwrap();
    assert!(refused.contains("refused") && !refused.contains("hush"), "{refused}");
    assert!(!get(&telemetry.service(), "/ready").1.contains("hush"));
}

#[test]
fn a_target_that_makes_no_sense_is_refused_without_its_password() {
    for bad in [
        Http::new("ftp://u:hush@h/".to_owned()).map(drop),
        Http::new("u:hush@h".to_owned()).map(drop),
        Tcp::new("127.0.0.1").map(drop),
        Tcp::new("redis://trader:hush@127.0.0.1:6379").map(drop),
        Tcp::new("trader:hush@127.0.0.1:6379").map(drop),
    ] {
        let error = bad.unwrap_err();
        assert!(error.is_target() && !format!("{error} {error:?}").contains("hush"), "{error}");
    }
    assert!(Http::new("http://h/".to_owned()).unwrap().expect_status(42).is_err());
    assert!(Http::new("https://h/".to_owned()).unwrap().trust(b"no PEM").unwrap_err().is_certificate());
    let http = Http::new("http://u:hush@h/".to_owned()).unwrap();
    assert!(!format!("{http:?}").contains("hush"));
}

#[test]
fn a_component_over_the_cap_is_one_of_many() {
    let telemetry = TestTelemetry::new();
    for number in 0..300 {
        telemetry.health().report(&format!("component{number}"), Up);
    }
    telemetry.health().report(&"x".repeat(200), Down("too long a name"));
    let components = telemetry.health().components();
    assert_eq!(components.len(), 257);
    assert_eq!(error(telemetry.health(), "other").as_deref(), Some("too long a name"));
    assert!(telemetry.scrape().contains("trading_component_up{component=\"other\"} 0.0\n"));
}

#[test]
fn the_settings_in_the_readme_are_right() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, yaml) = readme.split_once("```yaml\nhealth:").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    let health = settings(&format!("health:{yaml}"));
    assert_eq!((health.checks.len(), health.maintenance["broker"].len()), (5, 1));
    assert!(health.hours.timezone.is_some() && health.checks["redis"].critical);
}

#[test]
fn checks_of_the_settings_start_by_themselves() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = CheckSettings {
        kind: Some(CheckKind::Tcp),
        address: Some(listener.local_addr().unwrap().to_string()),
        critical: true,
        interval: Some(SOON),
        ..CheckSettings::default()
    };
    let checks = BTreeMap::from([("broker".to_owned(), broker)]);
    let telemetry =
        TestTelemetry::builder().health(HealthSettings { checks, ..HealthSettings::default() }).build();
    eventually("it is up", || is_up(telemetry.health(), "broker"));
    let scrape = telemetry.scrape();
    assert!(scrape.contains("trading_component_up{component=\"broker\"} 1.0\n"));
    assert!(scrape.contains("trading_health_check_duration_seconds{component=\"broker\"} "));
    assert!(scrape.contains(
        "trading_health_check_last_success_timestamp_seconds{component=\"broker\"} 1.710504e+09\n"
    ));
}
