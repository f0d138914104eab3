//! What the span of an order with one step inside costs its caller, exported over OTLP, beside tracing-opentelemetry with
//! its default options and the SDK's batch processor. Ours carries the order's identity on the step too and stands in a
//! whole service, log and all; the peer's subscriber has nothing but its layer.
#![expect(clippy::unwrap_used, reason = "a bench fails where it stands")]

#[path = "support/collector.rs"]
mod collector;
#[path = "support/service.rs"]
mod service;
#[path = "support/side.rs"]
mod side;

use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use collector::{COLLECTOR, Collector};
use service::{builder, order_span, settle};
use side::{Requests, Side, bursts, in_bursts, serve};

fn main() {
    serve(&[COLLECTOR, ("ours", ours), ("tracing-opentelemetry", peer)]);
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}

fn compare(criterion: &mut Criterion) {
    let collector = Collector::healthy();
    let mut group = criterion.benchmark_group("order_span");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for name in ["ours", "tracing-opentelemetry"] {
        let mut side = Side::start(name, collector.url());
        group.bench_function(name, |bencher| bencher.iter_custom(|rounds| side.time("order", rounds)));
    }
    group.finish();
}

fn ours(requests: &Requests) {
    let telemetry = builder()
        .set("otlp.endpoint", requests.given())
        .set("otlp.protocol", "grpc")
        .set("otlp.logs.export", "false")
        .init()
        .unwrap();
    let mut orders = 0;
    requests.answer(|_, rounds| {
        orders += in_bursts(rounds);
        bursts(rounds, || order_span(&telemetry), || settle(&telemetry))
    });
    // The report is an error where a span was lost.
    let report = telemetry.shutdown().unwrap();
    let delivered = report.signals().iter().find(|report| report.signal == "otlp traces").unwrap().delivered;
    assert_eq!(delivered, Some(2 * orders), "{report}");
}

fn peer(requests: &Requests) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(requests.given()).build().unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    tracing::subscriber::set_global_default(registry().with(layer)).unwrap();
    requests.answer(|_, rounds| bursts(rounds, peers_span, || provider.force_flush().unwrap()));
    provider.shutdown().unwrap();
}

/// The same fields by tracing-opentelemetry's own means; the step has none of them.
fn peers_span() {
    let order = tracing::info_span!(
        "order",
        otel.name = "submit_order",
        order_id = "abc123",
        symbol = "AAPL",
        strategy = "SwingMomentum",
    )
    .entered();
    tracing::info_span!("check_risk").in_scope(|| {});
    drop(order);
}
