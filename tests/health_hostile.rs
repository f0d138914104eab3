//! Checks, names, times and texts that nobody should have to reckon with: they cost themselves and nobody else.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trading_telemetry::clock::Clock;
use trading_telemetry::health::{Check, Down, Health, Heartbeat, Status, Up};
use trading_telemetry::settings::{HealthSettings, Settings, Sources};
use trading_telemetry::testing::TestTelemetry;

#[path = "support/mounted.rs"]
mod mounted;
#[path = "support/patience.rs"]
mod patience;

use mounted::get_json;
use patience::eventually;

const SOON: Duration = Duration::from_millis(20);

fn is_up(health: &Health, component: &str) -> bool {
    health.component(component).is_some_and(|component| component.is_up())
}

fn error(health: &Health, component: &str) -> Option<String> {
    health.component(component).filter(|component| component.status == Status::Down)?.last_error
}

fn settings(yaml: &str) -> Result<HealthSettings, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, yaml).unwrap();
    let loaded = Settings::load(&Sources::empty().file(file).program("test"));
    loaded.map(|loaded| loaded.settings.health).map_err(|error| error.to_string())
}

#[test]
fn a_heart_with_a_long_patience_is_not_stale_before_its_first_check() {
    let telemetry = TestTelemetry::builder()
        .health(
            settings("health: {checks: {feed: {kind: heartbeat, late_after_seconds: 600, critical: true}}}")
                .unwrap(),
        )
        .build();
    let (health, clock) = (telemetry.health(), telemetry.clock());
    let feed = health.heartbeat("feed");
    feed.beat();
    for _ in 0..10 {
        clock.advance(Duration::from_secs(10));
        feed.beat();
        eventually("it is asked", || health.component("feed").unwrap().age == Some(Duration::ZERO));
        assert_eq!(telemetry.evaluate_alerts().len(), 0);
        assert!(health.is_ready(), "{:?}", health.component("feed"));
    }
}

#[test]
fn times_without_end_and_of_nothing_are_times_like_any_other() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let good = || async { Ok::<(), String>(()) };
    health.add(Check::new("endless", good).timeout(Duration::MAX).interval(Duration::MAX).critical(true));
    health.add(Check::new("nothing", good).timeout(Duration::ZERO).interval(Duration::ZERO).critical(true));
    // As the first check may wait for a second.
    eventually("both are asked", || is_up(health, "endless") && is_up(health, "nothing"));
    health.add_heartbeat("eternal", Duration::MAX, true).beat();
    let restless = health.add_heartbeat("restless", Duration::ZERO, true);
    restless.beat();
    assert!(is_up(health, "restless"));
    telemetry.clock().advance(Duration::from_secs(1));
    eventually("it is late", || error(health, "restless").is_some());
    assert_eq!(get_json(&telemetry.service(), "/ready").0, 503);
    telemetry.evaluate_alerts();

    for zero in [
        "health: {timeout_seconds: 0}",
        "health: {checks: {a: {kind: tcp, address: \"h:1\", timeout_seconds: 0}}}",
        "health: {checks: {a: {kind: tcp, address: \"h:1\", interval_seconds: 0}}}",
        "health: {checks: {a: {kind: heartbeat, late_after_seconds: 0}}}",
        "monitoring: {health_check_interval_seconds: 0}",
    ] {
        let refused = settings(zero).unwrap_err();
        assert!(refused.contains("expected a number"), "{refused}");
    }
}

#[test]
fn an_error_of_a_megabyte_is_one_short_line_and_costs_its_owner_little() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let long = || async { Err::<(), _>("postgres://u:hush@h/ password=hush\n".repeat(30_000)) };
    health.add(Check::new("long", long).interval(SOON));
    eventually("it is told", || error(health, "long").is_some());
    let reason = "x".repeat(1 << 20);
    let asked = Instant::now();
    health.report("broker", Down(&reason));
    // A bound that a busy machine keeps.
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for component in ["long", "broker"] {
        let told = error(health, component).unwrap();
        assert!(told.chars().count() <= 301 && !told.contains("hush") && !told.contains('\n'), "{told}");
    }
}

#[test]
fn a_hostile_name_is_quoted_everywhere_and_breaks_nothing() {
    let telemetry = TestTelemetry::new();
    let names = ["a\"b\\c\nd", "<!channel> *x*", "{}", "", "\u{202e}drow", "trading_orders_total{x=\"1\"} 7"];
    for name in names {
        telemetry.health().declare(name, true);
        telemetry.health().report(name, Down("gone"));
    }
    let (status, body) = get_json(&telemetry.service(), "/ready");
    assert_eq!(status, 503);
    for name in names {
        assert_eq!(body["components"][name]["status"], "down", "{name:?}");
    }
    let scrape = telemetry.scrape();
    assert!(scrape.contains("trading_component_up{component=\"a\\\"b\\\\c\\nd\"} 0.0\n"), "{scrape}");
    let series = scrape.lines().filter(|line| line.starts_with("trading_component_up{")).count();
    assert_eq!(series, names.len());
    assert_eq!(telemetry.evaluate_alerts().len(), names.len());
}

#[test]
fn one_name_registered_many_times_at_once_is_one_check() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let asked: Vec<Arc<AtomicUsize>> = (0..20).map(|_| Arc::default()).collect();
    std::thread::scope(|threads| {
        for count in &asked {
            threads.spawn(move || {
                let count = Arc::clone(count);
                let check = Check::new("pool", move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    async { Ok::<(), String>(()) }
                });
                health.add(check.interval(SOON));
            });
        }
    });
    let counts = || -> Vec<usize> { asked.iter().map(|count| count.load(Ordering::SeqCst)).collect() };
    eventually("one is asked", || counts().iter().any(|count| *count > 0));
    std::thread::sleep(Duration::from_millis(500));
    let before = counts();
    eventually("it goes on", || counts().iter().sum::<usize>() > before.iter().sum::<usize>() + 3);
    let running = counts().iter().zip(before).filter(|(now, before)| *now > before).count();
    assert_eq!((running, health.components().len()), (1, 1));
}

#[test]
fn a_check_that_panics_as_it_is_dropped_or_spawns_what_panics_is_a_failure() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "dropped too soon");
        }
    }
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let bomb = || async {
        let _bomb = Bomb;
        std::future::pending::<Result<(), String>>().await
    };
    health.add(Check::new("bomb", bomb).interval(SOON).timeout(SOON));
    let spawns = || async { tokio::spawn(async { assert!(false_at_run_time(), "in a task") }).await };
    health.add(Check::new("spawns", spawns).interval(SOON));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let good = move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<(), String>(()) }
    };
    health.add(Check::new("good", good).interval(SOON));
    eventually("both are told", || {
        error(health, "bomb").is_some_and(|told| told == "the check panicked: dropped too soon")
            && error(health, "spawns").is_some_and(|told| told.contains("panicked"))
    });
    let before = asked.load(Ordering::SeqCst);
    eventually("the good one goes on", || asked.load(Ordering::SeqCst) > before + 3);
}

#[test]
fn a_check_that_fills_the_runtimes_pool_takes_no_other_checks_thread() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let greedy = move || {
        for _ in 0..600 {
            let held = Arc::clone(&held);
            tokio::task::spawn_blocking(move || drop(held.lock().map(|held| held.recv())));
        }
        async { Ok::<(), String>(()) }
    };
    health.add(Check::new("greedy", greedy).interval(Duration::from_hours(1)));
    eventually("the pool is full", || is_up(health, "greedy"));
    health.add(Check::new("good", || async { Ok::<(), String>(()) }).interval(SOON));
    eventually("it is asked", || health.component("good").is_some_and(|good| good.age.is_some()));
    assert!(is_up(health, "good"), "{:?}", error(health, "good"));
    drop(release);
}

#[test]
fn a_heart_that_two_threads_ask_for_at_once_is_one() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let names: Vec<String> = (0..200).map(|number| format!("heart{number}")).collect();
    let asked = AtomicUsize::new(0);
    let hearts: [Vec<Heartbeat>; 2] = std::thread::scope(|threads| {
        let ask = || -> Vec<Heartbeat> {
            let hearts = names.iter().enumerate().map(|(number, name)| {
                asked.fetch_add(1, Ordering::SeqCst);
                while asked.load(Ordering::SeqCst) < 2 * (number + 1) {
                    std::hint::spin_loop();
                }
                health.heartbeat(name)
            });
            hearts.collect()
        };
        [threads.spawn(ask), threads.spawn(ask)].map(|thread| thread.join().unwrap())
    });
    hearts.iter().flatten().for_each(Heartbeat::beat);
    telemetry.clock().advance(Duration::from_secs(6));
    hearts[0].iter().for_each(Heartbeat::beat);
    let beaten = Instant::now();
    while beaten.elapsed() < Duration::from_secs(2) {
        for name in &names {
            assert!(is_up(health, name), "{name} beat for nobody: {:?}", error(health, name));
        }
        std::thread::sleep(SOON);
    }
}

fn false_at_run_time() -> bool {
    std::env::args().count() == 0
}

#[test]
fn a_telemetry_that_goes_while_checks_run_leaves_none_behind() {
    let inside = Arc::new(AtomicUsize::new(0));
    for _ in 0..5 {
        let telemetry = TestTelemetry::new();
        for number in 0..10 {
            let inside = Arc::clone(&inside);
            let slow = move || {
                let inside = Arc::clone(&inside);
                async move {
                    inside.fetch_add(1, Ordering::SeqCst);
                    let _leaves = Leaves(inside);
                    std::future::pending::<Result<(), String>>().await
                }
            };
            telemetry.health().add(Check::new(format!("slow{number}"), slow).interval(SOON));
        }
        eventually("all are asked", || inside.load(Ordering::SeqCst) == 10);
        drop(telemetry);
        eventually("none is left", || inside.load(Ordering::SeqCst) == 0);
    }
}

struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_wall_clock_that_jumps_makes_nothing_stale_lost_or_late() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    health.add(Check::new("pool", || async { Ok::<(), String>(()) }).critical(true).interval(SOON));
    let heart = health.add_heartbeat("feed", Duration::from_secs(1), true);
    heart.beat();
    health.report("broker", Up);
    eventually("all are up", || is_up(health, "pool") && is_up(health, "feed"));
    let noon = telemetry.clock().wall();
    for hours in [25, -25, 24 * 400, -24 * 400] {
        telemetry.clock().jump_wall(noon + jiff::SignedDuration::from_hours(hours));
        std::thread::sleep(5 * SOON);
        assert_eq!(telemetry.evaluate_alerts().len(), 0, "{hours} h");
        assert!(health.is_ready() && is_up(health, "feed") && is_up(health, "broker"), "{hours} h");
    }
}
