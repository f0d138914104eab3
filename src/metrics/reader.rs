//! The one reader of a provider, shared by all that collect through it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, Pipeline, Temporality};

/// A [`PrometheusExporter`] that several may collect through. A second reader would make every recording dearer by
/// its full price; a second handle costs nothing.
#[derive(Clone, Debug)]
pub(crate) struct SharedReader(Arc<PrometheusExporter>);

impl SharedReader {
    pub(crate) fn new() -> Result<Self, opentelemetry_sdk::error::OTelSdkError> {
        Ok(Self(Arc::new(opentelemetry_prometheus::exporter().build()?)))
    }
}

impl MetricReader for SharedReader {
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
