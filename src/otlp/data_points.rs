//! How much a collection of metrics holds.

use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics,
};

/// The number of data points, which is what collectors count in.
pub(super) fn count(metrics: &ResourceMetrics) -> u64 {
    let data = metrics.scope_metrics().flat_map(ScopeMetrics::metrics).map(Metric::data);
    let points = data.map(|data| match data {
        AggregatedMetrics::F64(data) => points(data),
        AggregatedMetrics::I64(data) => points(data),
        AggregatedMetrics::U64(data) => points(data),
    });
    points.sum::<usize>() as u64
}

fn points<T>(data: &MetricData<T>) -> usize {
    match data {
        MetricData::Gauge(gauge) => gauge.data_points().count(),
        MetricData::Sum(sum) => sum.data_points().count(),
        MetricData::Histogram(histogram) => histogram.data_points().count(),
        MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
    }
}
