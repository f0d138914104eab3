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
    Aggregation, Instrument as Selector, InstrumentKind, ManualReader, MeterProviderBuilder, Pipeline,
    SdkMeterProvider, Stream, Temporality,
};

use super::{Format, Renderer, Selection};
use crate::metrics::catalog::{CATALOG, Instrument, Kind};
use crate::metrics::{Collected, NoExemplars};

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

    /// A provider whose histograms have the catalogue's bounds.
    pub(super) fn of_the_catalogue() -> Self {
        Self::new(|builder| {
            builder.with_view(|selected: &Selector| {
                let row = CATALOG.iter().find(|row| row.otel_name() == selected.name())?;
                let Kind::Histogram(bounds) = row.kind else { return None };
                let aggregation = Aggregation::ExplicitBucketHistogram {
                    boundaries: bounds.to_vec(),
                    record_min_max: false,
                };
                Stream::builder().with_aggregation(aggregation).build().ok()
            })
        })
    }

    pub(super) fn collect(&self) -> Arc<ResourceMetrics> {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).unwrap();
        Arc::new(metrics)
    }
}

/// The catalogue's data, everything published.
pub(super) fn catalogue_of(bench: &Bench) -> Collected {
    Collected {
        catalogue: bench.collect(),
        foreign: None,
        published: Arc::new(|_: &Instrument| true),
        exemplars: Arc::new(NoExemplars),
    }
}

/// A service's own data, nothing of the catalogue.
pub(super) fn foreign_of(bench: &Bench) -> Collected {
    Collected {
        catalogue: Arc::new(ResourceMetrics::default()),
        foreign: Some(bench.collect()),
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
