//! Instruments that are read when they are collected, over state of our own: what must forget a label value, and what
//! other rooms count themselves.

use opentelemetry::metrics::AsyncInstrument;

use super::catalog::{Instrument, Kind};
use super::registry::{Registry, attributes};

/// Receives a series' label values, in the order of the catalogue's row, and its value.
pub(crate) type Observer<'a> = dyn FnMut(&[&str], f64) + 'a;

impl Registry {
    /// Has `read` called at every collection to report the instrument's series.
    pub(crate) fn observe(
        &self,
        row: &'static Instrument,
        read: impl Fn(&mut Observer<'_>) + Send + Sync + 'static,
    ) {
        let callback = move |observer: &dyn AsyncInstrument<f64>| {
            read(&mut |values, value| observer.observe(value, &attributes(row, values)));
        };
        let name = row.otel_name();
        if row.kind == Kind::Counter {
            self.meter()
                .f64_observable_counter(name)
                .with_description(row.help)
                .with_callback(callback)
                .build();
        } else {
            self.meter()
                .f64_observable_gauge(name)
                .with_description(row.help)
                .with_callback(callback)
                .build();
        }
    }
}
