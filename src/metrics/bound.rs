//! Bound handles: what a typed group records into. No call here does I/O or panics, and none takes a lock: not even a
//! histogram, unless OTLP exports the metrics. None allocates, but for OpenTelemetry's context of a thread, which the
//! thread's first call makes.
//!
//! Values are kept beside the series. OpenTelemetry's instrument is told of them when its reader collects.

use std::sync::{Arc, LazyLock};

use opentelemetry::metrics::BoundHistogram;

use super::exemplars::in_sampled_order;
use super::series::Series;

/// A counter of events.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) series: Arc<Series>,
}

impl Count {
    #[inline]
    pub(crate) fn increment(&self) {
        self.series.count();
        self.series.touch();
        in_sampled_order(|order, span| {
            if let Some(slot) = self.series.slot(0) {
                slot.offer(1.0, order, span);
            }
        });
    }
}

/// A counter of an amount, in the instrument's unit.
#[derive(Clone, Debug)]
pub(crate) struct Amount {
    pub(crate) series: Arc<Series>,
}

impl Amount {
    #[inline]
    pub(crate) fn add(&self, value: f64) {
        if value < 0.0 {
            self.series.refuse(value);
            return;
        }
        if !self.series.admits_addend(value) {
            return;
        }
        self.series.add(value);
        self.series.touch();
        in_sampled_order(|order, span| {
            if let Some(slot) = self.series.slot(0) {
                slot.offer(value, order, span);
            }
        });
    }
}

/// A gauge.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    pub(crate) series: Arc<Series>,
}

impl Level {
    /// Records the value and says whether it was admitted.
    #[inline]
    pub(crate) fn record(&self, value: f64) -> bool {
        if !self.series.admits(value) {
            return false;
        }
        self.series.set(value);
        self.series.touch();
        true
    }
}

/// A histogram. OpenTelemetry's own cannot be told later, since it takes one value at a time, and has a mutex: it is
/// recorded into as well only where OTLP exports what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    pub(crate) series: Arc<Series>,
    pub(crate) exported: Option<Exported>,
}

/// OpenTelemetry's histogram of a series, made when it is first exported or recorded into: that of a group which the
/// service does not publish is not.
pub(crate) type Exported =
    Arc<LazyLock<BoundHistogram<f64>, Box<dyn FnOnce() -> BoundHistogram<f64> + Send>>>;

impl Distribution {
    /// Records the value and says whether it was admitted.
    #[inline]
    pub(crate) fn record(&self, value: f64) -> bool {
        let Some(buckets) = self.series.buckets() else { return false };
        if !self.series.admits_addend(value) {
            return false;
        }
        let bucket = buckets.bucket(value);
        buckets.record(bucket, value);
        if let Some(exported) = &self.exported {
            exported.record(value);
        }
        self.series.touch();
        in_sampled_order(|order, span| {
            if let Some(slot) = self.series.slot(bucket) {
                slot.offer(value, order, span);
            }
        });
        true
    }
}
