//! A service that has a `tracing` subscriber of its own, with our layer in it.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]

#[path = "support/http.rs"]
mod http;
#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod otlp_receiver;
#[path = "support/process.rs"]
mod process;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::request;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp_receiver::{Behaviour, Receiver};
use process::{events, port, service};
use tracing::{Event, Subscriber, span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use trading_telemetry::{Telemetry, init_telemetry};

/// What the service's own layer saw.
#[derive(Clone, Default)]
struct Own(Arc<Mutex<Vec<String>>>);

impl Own {
    fn saw(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Own {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.0.lock().unwrap().push(format!("span {}", attributes.metadata().name()));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.lock().unwrap().push(format!("{} line", event.metadata().level()));
    }
}

/// An order with lines at two levels, a child span and a record with an exemplar.
fn work(telemetry: &Telemetry, id: &str) {
    let _order = telemetry.order(id).symbol("AAPL").strategy("Swing").span("submit_order").entered();
    tracing::info!(quantity = 100, "order_submitted");
    tracing::info_span!("risk_check").in_scope(|| tracing::error!(reason = "no route", "order_stuck"));
    telemetry.metrics().execution().fill_latency_ms(1250.0);
}

fn exemplars(id: &str) -> usize {
    let accept = ("accept", "application/openmetrics-text");
    let scrape = request(port(), "GET", "/metrics", &[accept]).unwrap();
    scrape.text().lines().filter(|line| line.contains(&format!("order_id=\"{id}\""))).count()
}

#[test]
fn a_layer_in_a_services_own_subscriber_is_the_whole_telemetry() {
    let service = service(|| {
        let own = Own::default();
        tracing_subscriber::registry()
            .with(trading_telemetry::layer())
            .with(own.clone().with_filter(LevelFilter::ERROR))
            .init();
        // Before the start nothing happens, and what began then does no harm.
        let before = tracing::info_span!("main", order_id = "early").entered();
        tracing::error!("too_early");
        assert_eq!(own.saw(), ["ERROR line"]);
        let telemetry = init_telemetry().unwrap();
        drop(before);
        work(&telemetry, "abc123");
        assert_eq!(own.saw(), ["ERROR line"], "the service's filter is the service's");
        assert_eq!(exemplars("abc123"), 1);

        let filter = telemetry.log_filter().unwrap();
        filter.set("error").unwrap();
        work(&telemetry, "def456");
        assert_eq!(exemplars("def456"), 1, "a filter takes events, not orders");
        filter.set_for("debug", Duration::from_mins(1)).unwrap();
        tracing::debug!("detail");
        std::thread::spawn({
            let telemetry = telemetry.clone();
            move || work(&telemetry, "ghi789")
        })
        .join()
        .unwrap();
        assert!(telemetry.shutdown().unwrap().is_complete());
    });
    let collector = Receiver::start(Behaviour::Take);
    let log = service
        .run(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address)),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ])
        .log;
    assert!(events(&log, "too_early").is_empty() && events(&log, "order_spans_filtered").is_empty());
    assert_eq!(events(&log, "detail").len(), 1);
    let submitted = events(&log, "order_submitted");
    assert_eq!([&submitted[0]["order_id"], &submitted[1]["order_id"]], ["abc123", "ghi789"]);
    let stuck = events(&log, "order_stuck");
    assert_eq!(stuck.len(), 3);

    let spans = collector.spans();
    assert_eq!(spans.len(), 6, "{spans:?}");
    let lines = collector.logs();
    for (line, id) in stuck.iter().zip(["abc123", "def456", "ghi789"]) {
        for (key, expected) in [("order_id", id), ("symbol", "AAPL"), ("strategy", "Swing")] {
            assert_eq!(line[key], expected);
        }
        let of_order = |name: &str| -> &Span {
            let named = |span: &&Span| span.name == name && attribute(span, "order_id") == Some(id);
            spans.iter().find(named).unwrap()
        };
        let (submit, check) = (of_order("submit_order"), of_order("risk_check"));
        assert_eq!((&check.parent_span_id, &check.trace_id), (&submit.span_id, &submit.trace_id));
        assert_eq!(line["span_id"], hex(&check.span_id));
        assert_eq!(line["trace_id"], hex(&check.trace_id));
        assert!(lines.iter().any(|record| record.span_id == check.span_id), "{id} was exported");
    }
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 0xf].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
    bytes.iter().flat_map(digits).collect()
}

#[test]
fn a_filter_over_the_whole_subscriber_takes_order_spans_and_the_log_says_so() {
    let service = service(|| {
        tracing_subscriber::registry().with(trading_telemetry::layer()).with(LevelFilter::ERROR).init();
        let telemetry = init_telemetry().unwrap();
        work(&telemetry, "abc123");
        telemetry.shutdown().unwrap();
    });
    let log = service.run(&[]).log;
    let told = events(&log, "order_spans_filtered");
    assert_eq!((told.len(), &told[0]["level"]), (1, &"error".into()));
    assert!(told[0]["hint"].as_str().unwrap().contains("with_filter"), "{told:?}");
    assert_eq!(events(&log, "order_stuck").len(), 1);
}

#[test]
fn a_subscriber_of_one_thread_leaves_the_other_threads_to_us() {
    let service = service(|| {
        let own = Own::default();
        let subscriber = tracing_subscriber::registry().with(own.clone()).with(trading_telemetry::layer());
        let telemetry = tracing::subscriber::with_default(subscriber, || {
            let telemetry = init_telemetry().unwrap();
            own.saw();
            work(&telemetry, "here");
            assert_eq!(own.saw().len(), 4);
            telemetry
        });
        work(&telemetry, "there");
        assert!(own.saw().is_empty());
        telemetry.shutdown().unwrap();
    });
    let log = service.run(&[]).log;
    let ids: Vec<_> = events(&log, "order_submitted").iter().map(|line| line["order_id"].clone()).collect();
    assert_eq!(ids, ["here", "there"]);
    assert!(events(&log, "order_spans_filtered").is_empty());
}

#[test]
fn two_makers_of_opentelemetry_spans_are_a_clear_error() {
    let service = service(|| {
        let theirs =
            tracing_opentelemetry::layer().with_tracer(opentelemetry::trace::TracerProvider::tracer(
                &opentelemetry_sdk::trace::SdkTracerProvider::default(),
                "theirs",
            ));
        tracing_subscriber::registry().with(theirs).with(trading_telemetry::layer()).init();
        let error = init_telemetry().unwrap_err();
        assert!(error.is_foreign_subscriber(), "{error}");
        assert!(error.to_string().contains("take its tracing_opentelemetry layer out"), "{error}");
        tracing::info_span!("goes_on").in_scope(|| tracing::info!("unharmed"));
    });
    service.run(&[]);
    assert!(!service.folder().join("logs").exists(), "a start that is refused leaves nothing");
}
