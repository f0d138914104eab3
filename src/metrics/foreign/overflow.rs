//! Instruments whose further series the SDK folds into one, which it does without a word.

use std::sync::Mutex;

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};

use crate::lock::lock;
use crate::metrics::bound::Count;
use crate::told::ToldOf;

/// The attribute of the one series that stands for all further ones.
const OVERFLOW: &str = "otel.metric.overflow";

/// Counts the instruments that have overflown, and tells each once.
#[derive(Debug)]
pub(super) struct Overflow {
    pub(super) over_cap: Count,
    pub(super) told: Mutex<ToldOf>,
}

impl Overflow {
    /// Looks for them in what was collected: at one attribute of each series.
    pub(super) fn look(&self, metrics: &ResourceMetrics) {
        for scope in metrics.scope_metrics() {
            for metric in scope.metrics().filter(|metric| has_overflown(metric.data())) {
                let meter = scope.scope().name();
                lock(&self.told).once(&format!("{meter}/{}", metric.name()), OVERFLOW, || {
                    self.over_cap.increment();
                    tracing::warn!(
                        target: "trading_telemetry",
                        instrument = metric.name(),
                        meter,
                        hint = "its further series are one, marked otel_metric_overflow=\"true\"; use fewer \
                                attribute values, and none of orders, symbols or traces",
                        "metric_series_over_cap"
                    );
                });
            }
        }
    }
}

fn has_overflown(data: &AggregatedMetrics) -> bool {
    fn any<T>(data: &MetricData<T>) -> bool {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().any(|point| is_overflow(point.attributes())),
            MetricData::Sum(sum) => sum.data_points().any(|point| is_overflow(point.attributes())),
            MetricData::Histogram(histogram) => {
                histogram.data_points().any(|point| is_overflow(point.attributes()))
            }
            MetricData::ExponentialHistogram(histogram) => {
                histogram.data_points().any(|point| is_overflow(point.attributes()))
            }
        }
    }
    match data {
        AggregatedMetrics::F64(data) => any(data),
        AggregatedMetrics::U64(data) => any(data),
        AggregatedMetrics::I64(data) => any(data),
    }
}

fn is_overflow<'a>(mut attributes: impl Iterator<Item = &'a KeyValue>) -> bool {
    attributes.next().is_some_and(|pair| pair.key.as_str() == OVERFLOW && pair.value == Value::Bool(true))
}
