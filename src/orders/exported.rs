//! What tests see of the spans that were exported.

use std::sync::{Arc, Mutex};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use super::{OrderTracerProvider, layer};
use crate::lock::lock;

#[derive(Clone, Debug, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        lock(&self.0).extend(batch);
        Ok(())
    }
}

/// Does `work` as a process of its own would, and returns its spans.
pub(super) fn spans_of(work: impl FnOnce(&OrderTracerProvider)) -> Vec<SpanData> {
    let exported = Exported::default();
    let sdk = SdkTracerProvider::builder().with_simple_exporter(exported.clone()).build();
    let provider = OrderTracerProvider(sdk);
    tracing::subscriber::with_default(registry().with(layer(&provider)), || work(&provider));
    std::mem::take(&mut *lock(&exported.0))
}
