use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};

use super::*;
use crate::metrics::Catalogue;

fn names(provider: &ForeignProvider) -> Vec<(String, u64)> {
    let mut metrics = ResourceMetrics::default();
    provider.collect(&mut metrics).unwrap();
    let mut found: Vec<_> = metrics
        .scope_metrics()
        .flat_map(ScopeMetrics::metrics)
        .filter_map(|metric| match metric.data() {
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                Some((metric.name().to_owned(), gauge.data_points().next()?.value()))
            }
            _ => None,
        })
        .collect();
    found.sort();
    found
}

fn gauge(meter: &Meter, name: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
    meter.u64_observable_gauge(name).with_callback(move |observer| observer.observe(read(), &[])).build();
}

fn provider() -> ForeignProvider {
    let resource = Resource::builder_empty().build();
    let registry = Registry::new(resource.clone(), &[], 1).unwrap();
    ForeignProvider::new(resource, Arc::new(registry)).unwrap()
}

fn eventually(condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "did not come about in 20 s");
    }
}

#[test]
fn a_callback_that_panics_takes_nobody_with_it_and_heals() {
    let provider = provider();
    let meter = provider.meter("service");
    let calls = AtomicU64::new(0);
    gauge(&meter, "bad", move || {
        assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "the first call fails");
        7
    });
    gauge(&meter, "good", || 1);
    assert_eq!(names(&provider), [("good".into(), 1)]);
    assert_eq!(provider.failures(), 1);
    eventually(|| names(&provider) == [("bad".into(), 7), ("good".into(), 1)]);
}

#[test]
fn a_callback_that_blocks_for_ever_is_left_behind() {
    let provider = provider();
    let meter = provider.meter("service");
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    gauge(&meter, "before", || 1);
    gauge(&meter, "hung", move || {
        let _ = gate.lock().unwrap().recv();
        5
    });
    gauge(&meter, "behind", || 2);
    let healthy = [("before".to_owned(), 1), ("behind".to_owned(), 2)];
    assert_eq!(names(&provider), healthy);
    assert_eq!(provider.failures(), 1);
    // New instruments can be made while it hangs, and nobody waits for it again.
    gauge(&meter, "later", || 3);
    assert_eq!(names(&provider).len(), 3);
    assert_eq!(provider.failures(), 1);
    drop(release);
    eventually(|| names(&provider).len() == 4);
}

#[test]
fn a_callback_may_make_an_instrument() {
    let provider = provider();
    let meter = provider.meter("service");
    let inner = meter.clone();
    gauge(&meter, "outer", move || {
        inner.u64_gauge("made_inside").build().record(9, &[]);
        1
    });
    assert_eq!(names(&provider), [("made_inside".into(), 9), ("outer".into(), 1)]);
    assert_eq!(provider.failures(), 0);
}

/// The sum of an instrument over all its series, and how much of it is in the one that stands for further series.
fn sums(metrics: &ResourceMetrics, name: &str) -> (f64, f64) {
    let metric = metrics.scope_metrics().flat_map(ScopeMetrics::metrics).find(|metric| metric.name() == name);
    let mut sums = (0.0, 0.0);
    let mut add = |value: f64, attributes: Vec<&KeyValue>| {
        sums.0 += value;
        if attributes.iter().any(|pair| pair.key.as_str() == "otel.metric.overflow") {
            sums.1 += value;
        }
    };
    match metric.unwrap().data() {
        AggregatedMetrics::F64(MetricData::Sum(sum)) => {
            sum.data_points().for_each(|point| add(point.value(), point.attributes().collect()));
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            histogram.data_points().for_each(|point| add(point.sum(), point.attributes().collect()));
        }
        other => panic!("{other:?}"),
    }
    sums
}

/// What the catalogue counts under this label value.
fn counted(provider: &ForeignProvider, name: &str, value: &str) -> Option<f64> {
    let mut catalogue = Catalogue::default();
    provider.registry.collect(&mut catalogue);
    let (_, figures) = catalogue.rows().find(|(row, _)| row.name == name)?;
    figures
        .singles()
        .find(|(pairs, _)| pairs.iter().any(|pair| pair.value.as_str() == value))
        .map(|(_, value)| value)
}

fn collected(provider: &ForeignProvider) -> ResourceMetrics {
    let mut metrics = ResourceMetrics::default();
    provider.collect(&mut metrics).unwrap();
    metrics
}

#[test]
fn what_would_spoil_a_sum_is_refused_and_counted() {
    const REFUSED: &str = "trading_telemetry_refused_values_total";
    let provider = provider();
    let meter = provider.meter("service");
    let counter = meter.f64_counter("fees").build();
    let histogram = meter.f64_histogram("sizes").build();
    let bound = histogram.bind(&[]);
    for value in [f64::MAX, f64::MAX, f64::INFINITY, f64::NAN, -1.0, 2.0] {
        counter.add(value, &[]);
        histogram.record(value, &[]);
        bound.record(value);
    }
    // The largest that is taken stays finite however often it is added.
    for _ in 0..1_000 {
        counter.add(refusals::RISING.end() / 1e3, &[]);
    }
    assert_eq!(counted(&provider, REFUSED, "fees"), Some(5.0));
    assert_eq!(counted(&provider, REFUSED, "sizes"), Some(8.0));
    let metrics = collected(&provider);
    let (fees, sizes) = (sums(&metrics, "fees").0, sums(&metrics, "sizes").0);
    assert!(fees.is_finite() && fees > 1e288, "{fees}");
    assert!((sizes - 2.0).abs() < 1e-9, "{sizes}");
}

#[test]
fn an_instrument_with_too_many_series_is_counted_once_and_loses_nothing() {
    const OVER_CAP: &str = "trading_telemetry_over_cap_total";
    let provider = provider();
    let counter = provider.meter("service").f64_counter("orders_seen").build();
    let see = |orders: std::ops::Range<i64>| {
        for order in orders {
            counter.add(1.0, &[KeyValue::new("order", order)]);
        }
    };
    see(0..2_000);
    let (sum, folded) = sums(&collected(&provider), "orders_seen");
    assert!((sum - 2_000.0).abs() < 0.5 && folded < 0.5, "{sum} {folded}");
    assert_eq!(counted(&provider, OVER_CAP, "series"), Some(0.0));
    see(2_000..2_500);
    for _ in 0..3 {
        let (sum, folded) = sums(&collected(&provider), "orders_seen");
        assert!((sum - 2_500.0).abs() < 0.5 && (folded - 500.0).abs() < 0.5, "{sum} {folded}");
    }
    assert_eq!(counted(&provider, OVER_CAP, "series"), Some(1.0));
}
