//! The global provider: a service's own instruments and those of its libraries.
//!
//! Between them and the SDK stands what keeps the scrape whole: [`callbacks`] that may panic or hang, values that an
//! instrument [refuses](refusals), and a word where the SDK [folds](overflow) series into one.

mod callbacks;
mod overflow;
mod refusals;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{
    AsyncInstrumentBuilder, Counter, Gauge, Histogram, HistogramBuilder, InstrumentBuilder,
    InstrumentProvider, Meter, MeterProvider, ObservableCounter, ObservableGauge, ObservableUpDownCounter,
    UpDownCounter,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;

use super::reader::SharedReader;
use super::registry::Registry;
use crate::told::{Told, ToldOf};
pub(crate) use callbacks::CALLBACK_THREAD;
use callbacks::{Admits, Callbacks};
use overflow::Overflow;
use refusals::{ADDED, FINITE, RISING, Refusals, Refusing, TOTAL};

/// The provider behind `telemetry.meter()` and `opentelemetry::global`.
#[derive(Clone, Debug)]
pub(crate) struct ForeignProvider {
    sdk: SdkMeterProvider,
    reader: SharedReader,
    callbacks: Arc<Callbacks>,
    overflow: Arc<Overflow>,
    registry: Arc<Registry>,
}

impl ForeignProvider {
    /// What is refused or folded is counted in the catalogue's registry.
    pub(crate) fn new(resource: Resource, registry: Arc<Registry>) -> Result<Self, OTelSdkError> {
        let reader = SharedReader::new()?;
        let sdk = SdkMeterProvider::builder().with_resource(resource).with_reader(reader.clone()).build();
        let overflow =
            Overflow { over_cap: registry.over_cap("series"), told: Mutex::new(ToldOf::default()) };
        Ok(Self { sdk, reader, callbacks: Arc::default(), overflow: Arc::new(overflow), registry })
    }

    /// Runs the callbacks, under a deadline, and collects. An instrument whose callback panics or hangs is missing;
    /// all others are there.
    pub(crate) fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.callbacks.run();
        self.reader.collect(metrics)?;
        self.overflow.look(metrics);
        Ok(())
    }

    /// How many callbacks have panicked or hung.
    pub(crate) fn failures(&self) -> u64 {
        self.callbacks.failures()
    }
}

impl MeterProvider for ForeignProvider {
    fn meter_with_scope(&self, scope: InstrumentationScope) -> Meter {
        Meter::new(Arc::new(Guarded {
            inner: self.sdk.meter_with_scope(scope),
            callbacks: Arc::clone(&self.callbacks),
            registry: Arc::clone(&self.registry),
        }))
    }
}

/// A meter whose observable instruments are read out by us, and whose instruments of floats refuse what a scrape
/// cannot hold.
struct Guarded {
    inner: Meter,
    callbacks: Arc<Callbacks>,
    registry: Arc<Registry>,
}

impl Guarded {
    fn refusing<I>(&self, inner: I, name: String, admitted: RangeInclusive<f64>) -> Arc<Refusing<I>> {
        Arc::new(Refusing { inner, refusals: self.refusals(name, admitted) })
    }

    fn refusals(&self, name: String, admitted: RangeInclusive<f64>) -> Arc<Refusals> {
        let refused = self.registry.refusals_of(&name);
        Arc::new(Refusals { instrument: name, admitted, refused, told: Told::default() })
    }

    /// Admits the totals that a scrape can hold, of a callback of the instrument `name`.
    fn totals(&self, name: &str) -> Admits<f64> {
        self.within(name, TOTAL)
    }

    fn finite(&self, name: &str) -> Admits<f64> {
        self.within(name, FINITE)
    }

    fn within(&self, name: &str, admitted: RangeInclusive<f64>) -> Admits<f64> {
        let refusals = self.refusals(name.to_owned(), admitted);
        Arc::new(move |value| refusals.admit(value))
    }
}

/// A scrape can hold every whole number.
fn every<T>(_: &Guarded, _: &str) -> Admits<T> {
    Arc::new(|_| true)
}

macro_rules! guarded {
    (whole $($name:ident: $instrument:ty),+ $(,)?) => {
        $(fn $name(&self, builder: InstrumentBuilder<'_, $instrument>) -> $instrument {
            let mut inner = self.inner.$name(builder.name);
            inner.description = builder.description;
            inner.unit = builder.unit;
            inner.build()
        })+
    };
    (floats $($name:ident: $instrument:ident, $admitted:expr);+ $(;)?) => {
        $(fn $name(&self, builder: InstrumentBuilder<'_, $instrument<f64>>) -> $instrument<f64> {
            let mut inner = self.inner.$name(builder.name.clone());
            inner.description = builder.description;
            inner.unit = builder.unit;
            $instrument::new(self.refusing(inner.build(), builder.name.into_owned(), $admitted))
        })+
    };
    (observable $($name:ident: $instrument:ty, $value:ty, $admits:path);+ $(;)?) => {
        $(fn $name(&self, builder: AsyncInstrumentBuilder<'_, $instrument, $value>) -> $instrument {
            let mut inner = self.inner.$name(builder.name.clone());
            inner.description = builder.description;
            inner.unit = builder.unit;
            let admits = $admits(self, &builder.name);
            for callback in builder.callbacks {
                inner.callbacks.push(self.callbacks.add(&builder.name, callback, Arc::clone(&admits)));
            }
            inner.build()
        })+
    };
}

impl InstrumentProvider for Guarded {
    fn u64_histogram(&self, builder: HistogramBuilder<'_, Histogram<u64>>) -> Histogram<u64> {
        let mut inner = self.inner.u64_histogram(builder.name);
        inner.description = builder.description;
        inner.unit = builder.unit;
        inner.boundaries = builder.boundaries;
        inner.build()
    }

    fn f64_histogram(&self, builder: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        let mut inner = self.inner.f64_histogram(builder.name.clone());
        inner.description = builder.description;
        inner.unit = builder.unit;
        inner.boundaries = builder.boundaries;
        Histogram::new(self.refusing(inner.build(), builder.name.into_owned(), ADDED))
    }

    guarded!(whole
        u64_counter: Counter<u64>, i64_up_down_counter: UpDownCounter<i64>,
        u64_gauge: Gauge<u64>, i64_gauge: Gauge<i64>,
    );
    guarded!(floats
        f64_counter: Counter, RISING;
        f64_up_down_counter: UpDownCounter, ADDED;
        f64_gauge: Gauge, FINITE;
    );
    guarded!(observable
        u64_observable_counter: ObservableCounter<u64>, u64, every;
        f64_observable_counter: ObservableCounter<f64>, f64, Self::totals;
        i64_observable_up_down_counter: ObservableUpDownCounter<i64>, i64, every;
        f64_observable_up_down_counter: ObservableUpDownCounter<f64>, f64, Self::finite;
        u64_observable_gauge: ObservableGauge<u64>, u64, every;
        i64_observable_gauge: ObservableGauge<i64>, i64, every;
        f64_observable_gauge: ObservableGauge<f64>, f64, Self::finite;
    );
}
