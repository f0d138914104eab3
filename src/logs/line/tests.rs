use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::subscriber::with_default;
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

use crate::clock::ManualClock;
use crate::logs::{LogConfig, LogFormat, Logs};
use crate::orders::Identity;

/// What `log` writes, as text.
fn written(log: impl FnOnce()) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut config = LogConfig::new("backend");
    config.file.path = dir.path().join("backend.log");
    config.format = LogFormat::Json;
    let clock = ManualClock::new("2024-03-15T14:32:15.123456Z".parse().unwrap());
    let logs = Logs::start(config, std::sync::Arc::new(clock), |_| ()).unwrap();
    with_default(tracing_subscriber::registry().with(logs.layer()), log);
    logs.shutdown(Duration::from_mins(1)).unwrap();
    std::fs::read_to_string(dir.path().join("backend.log")).unwrap()
}

fn inside_an_order(log: impl FnOnce()) -> String {
    written(|| {
        let span = SpanContext::new(
            TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
            SpanId::from_hex("00f067aa0ba902b7").unwrap(),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        let identity = Identity {
            order_id: "abc123".into(),
            symbol: Some("AAPL".into()),
            strategy: Some("SwingMomentum".into()),
        };
        let context = opentelemetry::Context::new().with_remote_span_context(span).with_value(identity);
        let _attached = context.attach();
        log();
    })
}

#[test]
fn the_documented_line_comes_out_of_an_order_once_the_added_keys_are_taken_out() {
    let line = inside_an_order(|| {
        info!(
            symbol = "AAPL",
            order_id = "abc123",
            quantity = 100,
            price = 150.0,
            strategy = "S",
            "order_submitted"
        );
    });
    let added = r#""trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "service": "backend", "logger": "trading_telemetry::logs::line::tests", "#;
    assert_eq!(
        line.replace(added, "").replace(r#""strategy": "S", "#, ""),
        r#"{"event": "order_submitted", "symbol": "AAPL", "order_id": "abc123", "quantity": 100, "price": 150.0, "timestamp": "2024-03-15T14:32:15.123456Z", "level": "info"}
"#
    );
}

#[test]
fn the_order_is_on_lines_that_do_not_name_it_and_spans_do_not_repeat_it() {
    let line = inside_an_order(|| {
        let _span =
            info_span!("submit_order", order_id = "abc123", symbol = "AAPL", venue = "ARCA").entered();
        info!(symbol = "MSFT", "hedged");
    });
    let expected = r#"{"event": "hedged", "symbol": "MSFT", "order_id": "abc123", "strategy": "SwingMomentum", "venue": "ARCA", "trace_id": "#;
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn a_span_whose_order_is_not_known_yet_says_what_it_knows() {
    let line = written(|| {
        let _span = info_span!("submit_order", order_id = tracing::field::Empty, symbol = "AAPL").entered();
        info!("priced");
    });
    assert!(line.starts_with(r#"{"event": "priced", "symbol": "AAPL", "service": "backend", "#), "{line}");
}

#[test]
fn outside_of_an_order_there_are_no_ids() {
    let line = written(|| info!("started"));
    assert!(line.starts_with(r#"{"event": "started", "service": "backend", "#), "{line}");
}
