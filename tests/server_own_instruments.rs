//! A service's own OpenTelemetry instruments on the scrape of a running service: their names, and their callbacks.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]

#[path = "support/http.rs"]
mod http;
#[path = "support/process.rs"]
mod process;

use std::time::Duration;

use http::{scrape, value};
use process::{events, port, service};
use trading_telemetry::init_telemetry;
use trading_telemetry::opentelemetry::{KeyValue, global};

const FAILURES: &str = "trading_telemetry_foreign_collect_failures_total";

#[test]
fn they_have_the_names_that_opentelemetry_gives_them_for_prometheus() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        for meter in [telemetry.meter("desk"), global::meter("library")] {
            // One name in two scopes.
            meter.u64_counter("cache.hits").build().add(3, &[KeyValue::new("cache.name", "quotes")]);
        }
        let meter = global::meter("desk");
        meter.u64_counter("http.requests_total").with_description("Requests").build().add(2, &[]);
        meter.f64_counter("http.request.time").with_unit("s").build().add(1.5, &[]);
        meter.u64_counter("bytes_sent_bytes").with_unit("By").build().add(4, &[]);
        meter
            .f64_histogram("http.request.duration")
            .with_unit("ms")
            .with_boundaries(vec![10.0])
            .build()
            .record(7.0, &[KeyValue::new("http.route", "/orders"), KeyValue::new("http.status_code", 200)]);
        meter.f64_gauge("queue.age_seconds").with_unit("s").build().record(0.25, &[]);
        meter.i64_up_down_counter("queue.length").with_unit("{order}").build().add(-2, &[]);
        meter.f64_gauge("cpu.use").with_unit("1").build().record(0.5, &[]);
        meter.f64_gauge("queue-depth/high.water").build().record(1.0, &[]);
        // OpenTelemetry refuses the name, and says so.
        meter.f64_gauge("2nd strategy's p&l").build().record(1.0, &[]);
        // A built-in family is not to be had.
        meter.f64_gauge("trading_kill_switch_active").build().record(1.0, &[]);

        let text = scrape(port());
        for (series, right) in [
            (r#"cache_hits_total{cache_name="quotes",otel_scope_name="desk"}"#, 3.0),
            (r#"cache_hits_total{cache_name="quotes",otel_scope_name="library"}"#, 3.0),
            ("http_requests_total", 2.0),
            ("http_request_time_seconds_total", 1.5),
            ("bytes_sent_bytes_total", 4.0),
            (
                r#"http_request_duration_milliseconds_bucket{http_route="/orders",http_status_code="200",le="10.0"}"#,
                1.0,
            ),
            (r#"http_request_duration_milliseconds_sum{http_route="/orders",http_status_code="200"}"#, 7.0),
            ("queue_age_seconds", 0.25),
            ("queue_length", -2.0),
            ("cpu_use_ratio", 0.5),
            ("queue_depth_high_water", 1.0),
            ("trading_kill_switch_active", 0.0),
        ] {
            assert_eq!(value(&text, series), Some(right), "{series} in\n{}", own(&text));
        }
        assert!(text.contains("# HELP http_requests_total Requests\n# TYPE http_requests_total counter\n"));
        assert_eq!(text.matches("# TYPE cache_hits_total counter\n").count(), 1);
        for wrong in ["total_total", "seconds_seconds", "bytes_bytes", "library_calls_total_total"] {
            assert!(!text.contains(wrong), "{wrong}");
        }
        telemetry.shutdown().unwrap();
    });
    let log = service.run(&[]).log;
    let left_out = events(&log, "metric_left_out_of_scrape");
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert_eq!(left_out[0]["family"], "trading_kill_switch_active");
    assert!(log.iter().any(|line| line.to_string().contains("2nd strategy's p&l")), "{log:?}");
}

/// What is not ours, for a person to read.
fn own(scrape: &str) -> String {
    let lines = scrape.lines().filter(|line| !line.contains("trading_") && !line.contains("process_"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_callback_that_panics_costs_its_own_series_and_one_line() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let meter = telemetry.meter("desk");
        meter.u64_observable_gauge("good").with_callback(|observer| observer.observe(1, &[])).build();
        meter.u64_observable_gauge("bad").with_callback(|_| panic!("broken gauge")).build();
        telemetry.metrics().risk().kill_switch(true);
        for round in 1..=5 {
            let text = scrape(port());
            assert_eq!(value(&text, "trading_kill_switch_active"), Some(1.0));
            assert_eq!(value(&text, "good"), Some(1.0));
            assert!(value(&text, "bad").is_none());
            // The catalogue is collected first: the failure of this round is on the next scrape.
            let failures = value(&text, FAILURES).unwrap();
            assert!(
                (f64::from(round - 1)..=f64::from(round)).contains(&failures),
                "{failures} in round {round}"
            );
        }
        assert!(telemetry.shutdown().unwrap().is_complete());
    });
    assert_told_once(&service.run(&[]).log, "bad", "the callback panicked");
}

#[test]
fn a_callback_that_blocks_for_ever_costs_its_own_series_and_one_line() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let meter = global::meter("desk");
        meter.u64_observable_gauge("good").with_callback(|observer| observer.observe(1, &[])).build();
        meter.u64_observable_gauge("hung").with_callback(|_| std::thread::sleep(Duration::MAX)).build();
        meter.u64_observable_gauge("behind").with_callback(|observer| observer.observe(2, &[])).build();
        telemetry.metrics().risk().kill_switch(true);
        for _ in 0..5 {
            let text = scrape(port());
            assert_eq!(value(&text, "trading_kill_switch_active"), Some(1.0));
            assert_eq!((value(&text, "good"), value(&text, "behind")), (Some(1.0), Some(2.0)));
            assert!(value(&text, "hung").is_none());
        }
        assert_eq!(value(&scrape(port()), FAILURES), Some(1.0), "it is not called again while it hangs");
        meter.u64_gauge("later").build().record(3, &[]);
        assert_eq!(value(&scrape(port()), "later"), Some(3.0));
        assert!(telemetry.shutdown().unwrap().is_complete());
    });
    assert_told_once(&service.run(&[]).log, "hung", "the callback did not return");
}

fn assert_told_once(log: &[serde_json::Value], instrument: &str, reason: &str) {
    let told = events(log, "metric_callback_failed");
    assert_eq!(told.len(), 1, "{told:?}");
    let (line, level) = (told[0], &told[0]["level"]);
    assert_eq!(
        (&line["instrument"], &line["reason"], level),
        (&instrument.into(), &reason.into(), &"error".into())
    );
}

#[test]
fn a_callback_may_make_instruments_and_record_and_log() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let meter = telemetry.meter("desk");
        let (inner, inside) = (meter.clone(), telemetry.clone());
        meter
            .u64_observable_gauge("outer")
            .with_callback(move |observer| {
                inner.u64_gauge("made_inside").build().record(9, &[]);
                inner
                    .u64_observable_gauge("observed_inside")
                    .with_callback(|observer| observer.observe(4, &[]))
                    .build();
                inside.metrics().risk().kill_switch(true);
                tracing::info!("from_a_callback");
                observer.observe(1, &[]);
            })
            .build();
        scrape(port());
        let text = scrape(port());
        assert_eq!((value(&text, "outer"), value(&text, "made_inside")), (Some(1.0), Some(9.0)));
        assert_eq!(value(&text, "observed_inside"), Some(4.0));
        assert_eq!(value(&text, "trading_kill_switch_active"), Some(1.0));
        assert_eq!(value(&text, FAILURES), Some(0.0));
        assert!(telemetry.shutdown().unwrap().is_complete());
    });
    let log = service.run(&[]).log;
    assert!(events(&log, "from_a_callback").len() >= 2);
    assert_eq!(events(&log, "metric_callback_failed").len(), 0);
}
