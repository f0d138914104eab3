//! The scrape: the catalogue of a small service and of one with 10,000 series, in each form, beside collecting alone and
//! beside the peers' scrapes of the same series.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and says what it saw"
)]

#[path = "support/child.rs"]
mod child;
#[path = "support/desk.rs"]
mod desk;
#[path = "support/mirror.rs"]
mod mirror;
#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use desk::{Scraper, fill, samples};
use mirror::{Client, Macros, Model, Otel, Prometheus};
use opentelemetry::KeyValue;
use trading_telemetry::Telemetry;
use trading_telemetry::testing::TestTelemetry;

/// A histogram of the service's own, in place of strategies; its labels are as cheap to copy as the mirror's.
fn fill_histograms(telemetry: &Telemetry, wanted: usize, scrape: impl Fn() -> String) {
    let wait =
        telemetry.meter("desk").f64_histogram("desk.wait").with_description("Time in the queue").build();
    let mut queue = 0_i32;
    while samples(&scrape()) < wanted {
        for _ in 0..25 {
            queue += 1;
            let labels = [
                KeyValue::new("desk", Arc::<str>::from(format!("desk{}", queue % 10))),
                KeyValue::new("queue", Arc::<str>::from(format!("queue{queue}"))),
            ];
            for round in 0..8 {
                wait.record(f64::from((queue * 37 + round * 411) % 9000), &labels);
            }
        }
    }
}

fn sizes(criterion: &mut Criterion) {
    for (group, wanted) in [("scrape_400", 400), ("scrape_10000", 10_000), ("scrape_histograms", 10_000)] {
        let telemetry = TestTelemetry::builder().max_strategies(128).build();
        if group == "scrape_histograms" {
            fill_histograms(&telemetry, wanted, || telemetry.scrape());
        } else {
            fill(telemetry.metrics(), wanted, || telemetry.scrape());
        }
        let text = telemetry.scrape();
        let model = Model::of(&text);
        println!("{group}: {} samples, {} bytes", samples(&text), text.len());

        let mut group = criterion.benchmark_group(group);
        group.bench_function("text", |bencher| bencher.iter(|| telemetry.scrape()));
        let mut otel = Otel::new(&model);
        group.bench_function("collect", |bencher| bencher.iter(|| otel.collect()));
        same_work("opentelemetry-prometheus", otel.scrape(), &text);
        group.bench_function("opentelemetry-prometheus", |bencher| bencher.iter(|| otel.scrape().len()));
        drop(otel);
        let mut macros = Macros::new(&model);
        same_work("metrics", macros.scrape(), &text);
        group.bench_function("metrics", |bencher| bencher.iter(|| macros.scrape().len()));
        drop(macros);
        let mut prometheus = Prometheus::new(&model);
        same_work("prometheus", prometheus.scrape(), &text);
        group.bench_function("prometheus", |bencher| bencher.iter(|| prometheus.scrape().len()));
        drop(prometheus);
        let mut client = Client::new(&model);
        same_work("prometheus-client", client.scrape(), &text);
        group.bench_function("prometheus-client", |bencher| bencher.iter(|| client.scrape().len()));
        drop(client);
        group.bench_function("openmetrics", |bencher| bencher.iter(|| telemetry.scrape_openmetrics()));
        group.finish();
    }
}

/// A peer that writes less than we do would not be one.
fn same_work(peer: &str, theirs: &[u8], ours: &str) {
    let theirs = std::str::from_utf8(theirs).expect("text");
    let (samples, wanted) = (samples(theirs), samples(ours));
    // Ours writes no `_sum` of a P&L and a `target_info`; prometheus leaves out families without series.
    assert!(
        samples.abs_diff(wanted) <= 10 + wanted / 20,
        "{peer} writes {samples} samples, ours are {wanted}"
    );
}

/// What Prometheus waits for: the same over loopback, from a server in this process.
fn over_loopback(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let telemetry = child::desk()
        .set("metrics.max_strategies", "128")
        .set("alerts.evaluation_interval_seconds", "3600")
        .set("alerts.outbox_file", folder.path().join("outbox.redb").display().to_string())
        .set("logging.directory", folder.path().display().to_string())
        .init()
        .expect("it starts");
    let mut scraper = Scraper::new(&telemetry);
    fill(telemetry.metrics(), 10_000, || scraper.text());
    let mut group = criterion.benchmark_group("get_10000");
    let openmetrics = "accept: application/openmetrics-text; version=1.0.0\r\n";
    for (name, headers) in [("text", ""), ("openmetrics", openmetrics), ("gzip", "accept-encoding: gzip\r\n")]
    {
        group.bench_function(name, |bencher| bencher.iter(|| scraper.get(headers)));
    }
    group.finish();
    drop(telemetry.shutdown());
}

criterion_group! {
    name = scrape;
    config = support::criterion();
    targets = sizes, over_loopback
}
criterion_main!(scrape);
