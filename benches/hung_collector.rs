//! What a collector that never answers costs those who record, log and trace: the same calls in two services, one
//! beside a healthy collector and one beside a hung one, whose queues are full.
#![expect(clippy::unwrap_used, reason = "a bench fails where it stands")]

#[path = "support/collector.rs"]
mod collector;
#[path = "support/service.rs"]
mod service;
#[path = "support/side.rs"]
mod side;

use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use trading_telemetry::{OrderStatus, OrderType, ShutdownReport, Side as Direction, Telemetry};

use collector::{COLLECTOR, Collector};
use service::{builder, log_line, order_span, settle};
use side::{Requests, Side, bursts, serve};

fn main() {
    serve(&[COLLECTOR, ("healthy", healthy), ("hung", hung)]);
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}

fn compare(criterion: &mut Criterion) {
    let collectors = [Collector::healthy(), Collector::hung()];
    let mut sides = [Side::start("healthy", collectors[0].url()), Side::start("hung", collectors[1].url())];
    for work in ["record", "log", "span"] {
        let mut group = criterion.benchmark_group(format!("hung_collector_{work}"));
        group
            .sampling_mode(SamplingMode::Flat)
            .sample_size(30)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        for (name, side) in ["healthy", "ours"].into_iter().zip(&mut sides) {
            group.bench_function(name, |bencher| bencher.iter_custom(|rounds| side.time(work, rounds)));
        }
        group.finish();
    }
}

fn start(requests: &Requests) -> Telemetry {
    builder().set("otlp.endpoint", requests.given()).set("otlp.protocol", "grpc").init().unwrap()
}

fn healthy(requests: &Requests) {
    let telemetry = start(requests);
    answer(requests, &telemetry, || settle(&telemetry));
    // The report is an error where anything was lost.
    telemetry.shutdown().unwrap();
}

fn hung(requests: &Requests) {
    let telemetry = start(requests);
    // Enough to fill both queues and both batches under way.
    for _ in 0..5_000 {
        order_span(&telemetry);
        log_line();
    }
    answer(requests, &telemetry, || {
        telemetry.flush(Duration::from_millis(5));
    });
    let error = telemetry.shutdown_within(Duration::from_secs(2)).unwrap_err();
    let lost = |signal| lost(error.report(), signal);
    assert!(lost("otlp logs") > 0 && lost("otlp traces") > 0 && lost("logs") == 0, "{}", error.report());
}

fn lost(report: &ShutdownReport, signal: &str) -> u64 {
    report.signals().iter().find(|report| report.signal == signal).unwrap().lost
}

fn answer(requests: &Requests, telemetry: &Telemetry, mut settle: impl FnMut()) {
    let metrics = telemetry.metrics();
    let swing = metrics.strategy("SwingMomentum");
    requests.answer(|work, rounds| {
        // Recording and logging are done inside an order, where they cost most.
        let _order =
            (work != "span").then(|| telemetry.order("abc123").symbol("AAPL").span("submit_order").entered());
        match work {
            "record" => bursts(
                rounds,
                || {
                    swing.order(Direction::Buy, OrderType::Limit, OrderStatus::Filled);
                    metrics.execution().fill_latency_ms(1250.0);
                },
                || {},
            ),
            "log" => bursts(rounds, log_line, &mut settle),
            _ => bursts(rounds, || order_span(telemetry), &mut settle),
        }
    });
}
