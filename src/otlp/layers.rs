//! The `tracing` layers: log lines into OTLP, and the exporter's own lines out of everybody's sight.

use std::sync::Arc;

use opentelemetry::Context as OtelContext;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::Signal;
use super::log_record::LogItem;
use super::queue::Queue;
use super::stats::OtlpStats;
use crate::orders::Identity;

/// Where OpenTelemetry's exporter says what it does.
const EXPORTER: &str = "opentelemetry-otlp";

/// Turns events into log records with the ids of the current order and span. Filter it as the log file is.
#[derive(Debug)]
pub(crate) struct LogLayer(pub(super) Queue<LogItem>);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // What the export itself says would be exported, and say something again.
        if OtelContext::is_current_telemetry_suppressed()
            || event.metadata().target().starts_with("opentelemetry")
        {
            return;
        }
        let item = Identity::with_current(|order, span| LogItem::new(event, order, span));
        let bytes = item.bytes();
        self.0.push(item, bytes);
    }
}

/// Hears from OpenTelemetry's exporter how much of a batch the collector rejected, which it tells nobody else, and
/// keeps its lines from all layers: one for each batch that fails, and URLs with their secrets at debug level.
///
/// Must not be filtered.
#[derive(Debug)]
pub(crate) struct ExporterLayer(pub(super) Arc<OtlpStats>);

impl<S: Subscriber> Layer<S> for ExporterLayer {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if metadata.target() != EXPORTER {
            return true;
        }
        if metadata.name().ends_with("PartialSuccess") {
            event.record(&mut Rejections(&self.0));
        }
        false
    }
}

struct Rejections<'a>(&'a OtlpStats);

impl Visit for Rejections<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        let signal = match field.name() {
            "rejected_spans" => Signal::Traces,
            "rejected_log_records" => Signal::Logs,
            "rejected_data_points" => Signal::Metrics,
            _ => return,
        };
        self.0.of(signal).reject(u64::try_from(value).unwrap_or(0));
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}
