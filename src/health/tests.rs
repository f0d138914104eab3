//! What only the inside shows: the waker, the latch, replacement, the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Check, Down, HealthSignal, Up};
use crate::shutdown::Signal;
use crate::testing::TestTelemetry;

fn latched(telemetry: &TestTelemetry, component: &str) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    telemetry.metrics().components().take_latched(|_, name, latched, _| {
        if name == component {
            found.push((latched.last, latched.worst));
        }
    });
    found
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_report_wakes_the_alerts_before_it_returns_and_only_when_it_is_news() {
    let telemetry = TestTelemetry::new();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    telemetry.metrics().waker().set(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let health = telemetry.health();
    for (report, expected) in
        [(Up, 1), (Up, 1), (Down("socket closed"), 2), (Down("still closed"), 2), (Up, 3)]
    {
        health.report("broker", report);
        assert_eq!(wakes.load(Ordering::SeqCst), expected, "{report:?}");
    }
    assert_eq!(latched(&telemetry, "broker"), [(1.0, 0.0)], "the blip is seen");
}

#[test]
fn a_check_wakes_them_too() {
    let telemetry = TestTelemetry::new();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    telemetry.metrics().waker().set(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let check = Check::new("pool", || async { Err::<(), _>("exhausted") }).interval(Duration::from_millis(5));
    telemetry.health().add(check);
    eventually("the first failure wakes", || wakes.load(Ordering::SeqCst) == 1);
    assert_eq!(latched(&telemetry, "pool"), [(0.0, 0.0)]);
}

#[test]
fn a_check_replaces_the_earlier_one_of_its_component() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let every = Duration::from_millis(5);
    health.add(Check::new("pool", || async { Err::<(), _>("old") }).interval(every));
    eventually("the old one fails", || {
        health.component("pool").is_some_and(|pool| pool.last_error.is_some())
    });
    // So rarely that what it found is not stale at once on a busy machine.
    let seldom = Duration::from_secs(2);
    health.add(Check::new("pool", || async { Ok::<(), String>(()) }).critical(true).interval(seldom));
    eventually("the new one succeeds", || health.component("pool").is_some_and(|pool| pool.is_up()));
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_millis(100) {
        assert!(health.is_ready(), "the old one is gone");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(health.components().len(), 1);
}

#[test]
fn after_the_end_nothing_is_asked_and_nothing_is_started() {
    let telemetry = TestTelemetry::new();
    let health = telemetry.health();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = |asked: &Arc<AtomicUsize>| {
        let asked = Arc::clone(asked);
        move || {
            asked.fetch_add(1, Ordering::SeqCst);
            async { Ok::<(), String>(()) }
        }
    };
    health.add(Check::new("pool", counting(&asked)).interval(Duration::from_millis(1)));
    // One that blocks its thread must not hold the end.
    let blocks = Check::new("blocks", || async {
        std::thread::sleep(Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<(), String>(())
    });
    health.add(blocks.interval(Duration::from_millis(1)));
    eventually("it runs", || asked.load(Ordering::SeqCst) > 3);
    let started = Instant::now();
    HealthSignal(health.clone()).shutdown(Duration::from_secs(5));
    assert!(started.elapsed() < Duration::from_millis(4500));
    std::thread::sleep(Duration::from_millis(300));
    let at_the_end = asked.load(Ordering::SeqCst);
    health.add(Check::new("late", counting(&asked)).interval(Duration::from_millis(1)));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(asked.load(Ordering::SeqCst), at_the_end);
    health.report("broker", Down("the end is no excuse"));
    assert!(health.component("broker").is_some_and(|broker| !broker.is_up()));
}
