//! The `tracing` layers: log lines into OTLP, and the exporter's own lines out of everybody's sight.

use std::sync::Arc;

use opentelemetry::Context as OtelContext;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
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

/// Whether a line is the exporter's own. Layers for people filter these out: what they say is told once, in our words.
pub(crate) fn is_exporters(metadata: &Metadata<'_>) -> bool {
    metadata.target() == EXPORTER
}

/// Hears from OpenTelemetry's exporter how much of a batch the collector rejected, which it tells nobody else, and
/// switches off its other lines: one for each batch that fails, and URLs with their secrets at debug level.
///
/// Must not be filtered.
#[derive(Debug)]
pub(crate) struct ExporterLayer(pub(super) Arc<OtlpStats>);

impl<S: Subscriber> Layer<S> for ExporterLayer {
    // Not `event_enabled`: a line refused there leaves the state of other layers' filters behind, and the next line
    // of the thread is lost to them.
    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        !is_exporters(metadata) || metadata.name().ends_with("PartialSuccess")
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if is_exporters(event.metadata()) {
            event.record(&mut Rejections(&self.0));
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tracing_subscriber::filter::{LevelFilter, filter_fn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn rejections_are_heard_whatever_the_filters_and_other_lines_seen_by_nobody() {
        let (strict, all) = (Seen::default(), Seen::default());
        let stats = Arc::new(OtlpStats::default());
        let subscriber = tracing_subscriber::registry()
            .with(strict.clone().with_filter(LevelFilter::ERROR))
            .with(ExporterLayer(Arc::clone(&stats)));
        let seen = all.clone().with_filter(filter_fn(|metadata| !is_exporters(metadata)));
        let also = tracing_subscriber::registry().with(ExporterLayer(Arc::default())).with(seen);
        let say = || {
            tracing::warn!(
                name: "TonicLogsClient.PartialSuccess", target: "opentelemetry-otlp",
                rejected_log_records = 3_i64, error_message = "too old",
            );
            tracing::error!(name: "HttpClient.StatusError", target: "opentelemetry-otlp", url = "http://h/?key=k");
            tracing::error!("mine");
        };
        tracing::subscriber::with_default(subscriber, say);
        tracing::subscriber::with_default(also, say);
        let logs = stats.of(Signal::Logs);
        logs.accept(5);
        assert_eq!(logs.export(5), 3);
        assert_eq!((logs.report().exported, logs.report().lost), (2, 3));
        assert_eq!((strict.0.load(Relaxed), all.0.load(Relaxed)), (1, 1));
    }
}
