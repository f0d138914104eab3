//! The exposition, judged by Python's client (golden bytes), by `opentelemetry-prometheus`, and by a strict parser of its
//! own.

mod catalogue;
mod foreign;
mod parser;
mod properties;

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind, ManualReader, MeterProviderBuilder, Pipeline, SdkMeterProvider, Temporality,
};

use super::{Format, Renderer, Selection};
use crate::metrics::catalog::{self, Instrument, Kind};
use crate::metrics::{Buckets, Catalogue, Collected, NoExemplars, attributes};

/// A reader that a test keeps a hand on.
#[derive(Clone, Debug)]
pub(super) struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// A provider of its own, and the means to collect it.
pub(super) struct Bench {
    pub(super) provider: SdkMeterProvider,
    reader: Reader,
}

impl Bench {
    pub(super) fn new(build: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder) -> Self {
        Self::reading(ManualReader::builder().build(), build)
    }

    pub(super) fn delta() -> Self {
        let reader = ManualReader::builder().with_temporality(Temporality::Delta).build();
        Self::reading(reader, |builder| builder)
    }

    fn reading(
        reader: ManualReader,
        build: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
    ) -> Self {
        let reader = Reader(Arc::new(reader));
        let builder = SdkMeterProvider::builder().with_resource(Resource::builder_empty().build());
        Self { provider: build(builder.with_reader(reader.clone())).build(), reader }
    }

    pub(super) fn collect(&self) -> ResourceMetrics {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).unwrap();
        metrics
    }
}

/// The catalogue's data, everything published.
pub(super) fn catalogue_of(catalogue: Catalogue) -> Collected {
    Collected {
        catalogue: Arc::new(catalogue),
        resource: Resource::builder_empty().build(),
        foreign: None,
        published: Arc::new(|_: &Instrument| true),
        exemplars: Arc::new(NoExemplars),
    }
}

/// Adds a series of a counter or a gauge of the catalogue, with its label values in the order of the row.
pub(super) fn single(catalogue: &mut Catalogue, name: &str, labels: &[&str], value: f64) {
    let row = catalog::find(name).unwrap();
    catalogue.row(row.ordinal()).unwrap().take_observed(row, labels, value);
}

/// Adds a series of a histogram of the catalogue that holds these values.
pub(super) fn histogram(catalogue: &mut Catalogue, name: &str, labels: &[&str], values: &[f64]) {
    let row = catalog::find(name).unwrap();
    let Kind::Histogram(bounds) = row.kind else { panic!("{name} is no histogram") };
    let buckets = Buckets::new(bounds);
    for value in values {
        buckets.record(buckets.bucket(*value), *value);
    }
    let attributes = attributes(row, labels).into();
    catalogue.row(row.ordinal()).unwrap().take_histogram(&attributes, &buckets);
}

/// A service's own data, nothing of the catalogue.
pub(super) fn foreign_of(bench: &Bench) -> Collected {
    Collected {
        catalogue: Arc::default(),
        resource: Resource::builder_empty().build(),
        foreign: Some(Arc::new(bench.collect())),
        published: Arc::new(|_: &Instrument| false),
        exemplars: Arc::new(NoExemplars),
    }
}

pub(super) fn render(collected: &Collected, format: Format) -> String {
    select(collected, &Selection::all(), format)
}

pub(super) fn select(collected: &Collected, selection: &Selection, format: Format) -> String {
    String::from_utf8(Renderer::default().render(collected, selection, format)).unwrap()
}
