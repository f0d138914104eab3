//! Instruments that are read when they are collected, over state of our own: what must forget a label value, and what
//! other rooms count themselves.

use std::sync::Arc;

use opentelemetry::metrics::AsyncInstrument;

use super::catalog::{Instrument, Kind};
use super::collected::Catalogue;
use super::registry::{Registry, attributes};

/// Receives a series' label values, in the order of the catalogue's row, and its value.
pub(crate) type Observer<'a> = dyn FnMut(&[&str], f64) + 'a;

/// One such instrument.
pub(super) struct Observed {
    row: &'static Instrument,
    ordinal: usize,
    read: Arc<dyn Fn(&mut Observer<'_>) + Send + Sync>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Observed").field(&self.row.name).finish()
    }
}

impl Observed {
    pub(super) fn collect(&self, into: &mut Catalogue) {
        if let Some(figures) = into.row(self.ordinal) {
            (self.read)(&mut |values, value| figures.take_observed(self.row, values, value));
        }
    }
}

impl Registry {
    /// Has `read` called at every collection to report the instrument's series.
    pub(crate) fn observe(
        &self,
        row: &'static Instrument,
        read: impl Fn(&mut Observer<'_>) + Send + Sync + 'static,
    ) {
        let read = Arc::new(read);
        let reported = Arc::clone(&read);
        let group = self.group(row.group);
        let callback = move |observer: &dyn AsyncInstrument<f64>| {
            if !group.is_published() {
                return;
            }
            reported(&mut |values, value| observer.observe(value, &attributes(row, values)));
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
        self.add_observed(Observed { row, ordinal: row.ordinal(), read });
    }
}
