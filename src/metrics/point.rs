//! The series on the scrape, and what OpenTelemetry's instruments have been told of them.

use std::sync::{Arc, LazyLock};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundGauge, Meter};

use super::bound::Exported;
use super::catalog::Instrument;
use super::series::Series;

/// One of them.
#[derive(Debug)]
pub(super) struct Point {
    /// Sorted by key.
    pub(super) attributes: Arc<[KeyValue]>,
    pub(super) series: Arc<Series>,
    pub(super) told: Told,
}

/// What OpenTelemetry's instrument of a series has been told. It is made when it is first told something: most services
/// export no metrics.
#[derive(Debug)]
pub(super) enum Told {
    /// And the number that it was told last.
    Count(Option<BoundCounter<u64>>, u64),
    /// And the value that it was told last.
    Amount(Option<BoundCounter<f64>>, f64),
    Level(Option<BoundGauge<f64>>),
    /// Whatever is recorded, if anything.
    Distribution(Option<Exported>),
}

impl Point {
    /// The value of a counter or a gauge.
    pub(super) fn value(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a Prometheus value is a float")]
        match self.told {
            Told::Count(..) => self.series.number() as f64,
            _ => self.series.value(),
        }
    }

    /// Tells OpenTelemetry's instrument, which is made by `meter`.
    pub(super) fn tell(&mut self, row: &'static Instrument, meter: &Meter) {
        let (name, help, attributes) = (row.otel_name(), row.help, &*self.attributes);
        match &mut self.told {
            Told::Count(bound, told) => {
                let make = || meter.u64_counter(name).with_description(help).build().bind(attributes);
                let number = self.series.number();
                bound.get_or_insert_with(make).add(number.wrapping_sub(*told));
                *told = number;
            }
            Told::Amount(bound, told) => {
                let make = || meter.f64_counter(name).with_description(help).build().bind(attributes);
                let value = self.series.value();
                bound.get_or_insert_with(make).add(value - *told);
                *told = value;
            }
            Told::Level(bound) => {
                let make = || meter.f64_gauge(name).with_description(help).build().bind(attributes);
                bound.get_or_insert_with(make).record(self.series.value());
            }
            Told::Distribution(exported) => {
                if let Some(exported) = exported {
                    LazyLock::force(exported);
                }
            }
        }
    }
}
