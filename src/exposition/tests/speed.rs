//! `cargo test --release --lib -- --ignored --nocapture exposition::tests::speed`

use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::Stream;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader as _;

use super::{Bench, foreign_of};
use crate::exposition::{Format, Renderer, Selection};

#[test]
#[ignore = "a measurement; it says something in a release build on a quiet machine alone"]
fn ten_thousand_series_are_written_in_half_the_time_of_collecting_them() {
    let bench = Bench::new(|builder| {
        builder.with_view(|_: &_| Stream::builder().with_cardinality_limit(20_000).build().ok())
    });
    let counter = bench.provider.meter("m").f64_counter("orders").build();
    for strategy in 0..2_000 {
        for status in ["FILLED", "CANCELLED", "REJECTED", "EXPIRED", "PARTIALLY_FILLED"] {
            counter.add(
                f64::from(strategy),
                &[
                    KeyValue::new("order_type", "LIMIT"),
                    KeyValue::new("side", "BUY"),
                    KeyValue::new("status", status),
                    KeyValue::new("strategy", format!("strategy {strategy}")),
                ],
            );
        }
    }
    let mut metrics = ResourceMetrics::default();
    let mut renderer = Renderer::default();
    let (mut collecting, mut writing) = (Duration::MAX, Duration::MAX);
    for _ in 0..50 {
        let start = Instant::now();
        bench.reader.collect(&mut metrics).unwrap();
        collecting = collecting.min(start.elapsed());
        let collected = foreign_of(&bench);
        let start = Instant::now();
        let body = renderer.render(&collected, &Selection::all(), Format::Text);
        writing = writing.min(start.elapsed());
        assert!(body.len() > 10_000 * 60);
    }
    println!("collecting {collecting:?}, writing {writing:?}");
    assert!(writing * 2 <= collecting);
}
