//! What an instrument of floats refuses, and the SDK does not, or drops without a word.

use std::ops::RangeInclusive;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    BoundCounter, BoundGauge, BoundHistogram, BoundSyncInstrument, BoundUpDownCounter, Counter, Gauge,
    Histogram, SyncInstrument, UpDownCounter,
};

use crate::metrics::bound::Count;
use crate::metrics::series::LARGEST_ADDEND;
use crate::told::Told;

/// A counter never goes down, and no sum reaches infinity.
pub(super) const RISING: RangeInclusive<f64> = 0.0..=LARGEST_ADDEND;
/// What is added up both ways, or in a histogram.
pub(super) const ADDED: RangeInclusive<f64> = -LARGEST_ADDEND..=LARGEST_ADDEND;
/// What stands by itself.
pub(super) const FINITE: RangeInclusive<f64> = f64::MIN..=f64::MAX;
/// A counter's total that a callback reports.
pub(super) const TOTAL: RangeInclusive<f64> = 0.0..=f64::MAX;

/// What one instrument refuses.
pub(super) struct Refusals {
    pub(super) instrument: String,
    pub(super) admitted: RangeInclusive<f64>,
    pub(super) refused: Count,
    pub(super) told: Told,
}

impl Refusals {
    #[inline]
    pub(super) fn admit(&self, value: f64) -> bool {
        let admitted = self.admitted.contains(&value);
        if !admitted {
            self.refuse(value);
        }
        admitted
    }

    #[cold]
    fn refuse(&self, value: f64) {
        self.refused.increment();
        self.told.once(|| {
            tracing::warn!(
                target: "trading_telemetry",
                instrument = self.instrument,
                value = ?value,
                hint = "record finite numbers (at most 9e288 where they are added up), into a counter 0 or more; \
                        further refusals are counted in trading_telemetry_refused_values_total",
                "metric_value_refused"
            );
        });
    }
}

/// An instrument, bound or not, that is given only what is admitted.
pub(super) struct Refusing<I> {
    pub(super) inner: I,
    pub(super) refusals: Arc<Refusals>,
}

macro_rules! refusing {
    ($($instrument:ident, $bound:ident, $record:ident);+ $(;)?) => { $(
        impl SyncInstrument<f64> for Refusing<$instrument<f64>> {
            fn measure(&self, value: f64, attributes: &[KeyValue]) {
                if self.refusals.admit(value) {
                    self.inner.$record(value, attributes);
                }
            }

            fn bind(&self, attributes: &[KeyValue]) -> Box<dyn BoundSyncInstrument<f64> + Send + Sync> {
                let refusals = Arc::clone(&self.refusals);
                Box::new(Refusing { inner: self.inner.bind(attributes), refusals })
            }
        }

        impl BoundSyncInstrument<f64> for Refusing<$bound<f64>> {
            fn measure(&self, value: f64) {
                if self.refusals.admit(value) {
                    self.inner.$record(value);
                }
            }
        }
    )+ };
}

refusing!(
    Counter, BoundCounter, add;
    UpDownCounter, BoundUpDownCounter, add;
    Histogram, BoundHistogram, record;
    Gauge, BoundGauge, record;
);
