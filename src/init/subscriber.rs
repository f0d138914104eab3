//! The process' `tracing` subscriber: ours, or a service's own with our layer in it.
//!
//! A subscriber takes no further layer once it stands, and a filter has to be registered while it is built. So the
//! layers are made empty, each behind its filter, and the start fills them all at once.

use std::sync::OnceLock;

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{SpanBuilder, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, Span};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, callsite, dispatcher, span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::error::{InitError, Kind};
use super::signals::Export;
use crate::logs::{EventFilter, LineLayer, Logs};
use crate::orders::{self, OrderTracer};
use crate::otlp::{self, ExporterLayer, LogLayer};
use crate::telemetry::Core;

/// What the layers do, from the start on.
static STARTED: OnceLock<Started> = OnceLock::new();

#[derive(Debug)]
struct Started {
    tracer: OrderTracer,
    lines: LineLayer,
    filter: EventFilter,
    exporter: Option<ExporterLayer>,
    exported: Option<LogLayer>,
}

/// The telemetry as a layer, for a service that has a `tracing` subscriber of its own: log lines, order spans, traces.
/// It does nothing until the telemetry starts; the crate's front page shows how to add it.
///
/// What becomes a line is decided by `RUST_LOG` and the settings, as it is without another subscriber. Give each layer
/// of the service's own its filter with `with_filter`: a filter over the whole subscriber takes spans, and
/// with them the ids, from everybody. The start says so in an error line, `order_spans_filtered`. A layer of
/// `tracing_opentelemetry` beside this one is refused.
///
/// # Panics
///
/// When it is added to what takes no layer with a filter, as what `tracing_subscriber::fmt()` builds does not: write
/// `registry().with(fmt::layer())` instead.
pub fn layer<S>() -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    Marker
        .and_then(Late(|started| started.exporter.as_ref()))
        .and_then(orders::layer_of(LateTracer, || STARTED.get().is_some()))
        .and_then(Late(|started| Some(&started.lines)).with_filter(LateFilter))
        .and_then(Late(|started| started.exported.as_ref()).with_filter(LateFilter))
}

/// Whether the telemetry can start with the subscriber that is in place.
pub(super) fn check() -> Result<(), InitError> {
    if STARTED.get().is_some() {
        return Err(Kind::AlreadyStarted.into());
    }
    // One that was in place for a while and is gone again is no obstacle.
    let (none, ours) = dispatcher::get_default(|current| (current.is::<NoSubscriber>(), has_layer(current)));
    if !none && !ours {
        return Err(Kind::ForeignSubscriber.into());
    }
    // Two such layers keep their data under one type, and the second one to do so panics.
    let probe = tracing::info_span!(target: "trading_telemetry", "telemetry_starts");
    if probe.context().span().span_context().is_valid() {
        return Err(Kind::ForeignTracer.into());
    }
    Ok(())
}

/// Fills the layers, and makes them the process' subscriber where the service has none of its own.
pub(super) fn install(core: &Core, logs: &Logs, export: Option<&Export>) -> Result<(), InitError> {
    let started = Started {
        tracer: core.tracers.tracer("trading_telemetry"),
        lines: logs.lines(),
        filter: logs.filter().clone(),
        exporter: export.map(|export| export.otlp().exporter_layer()),
        exported: export.and_then(|export| export.otlp().log_layer()),
    };
    STARTED.set(started).map_err(|_| Kind::AlreadyStarted)?;
    let ours = Dispatch::new(tracing_subscriber::registry().with(layer()));
    // One that the service has for this thread alone leaves the others to us.
    let is_set = dispatcher::set_global_default(ours.clone()).is_ok();
    let filtered = !is_set && !passes_spans_elsewhere();
    if filtered {
        dispatcher::with_default(&ours, || {
            tracing::error!(
                target: "trading_telemetry",
                hint = "give the subscriber's own layers their filters by with_filter, instead of one over all of it",
                "order_spans_filtered"
            );
        });
    }
    drop(ours);
    // What each call site was told while the layers were empty.
    callsite::rebuild_interest_cache();
    Ok(())
}

/// Whether order spans reach the layer on the process' other threads. Asked on one of them, since to ask leaves
/// something behind in the filters of the thread.
fn passes_spans_elsewhere() -> bool {
    let asked = std::thread::Builder::new().name("telemetry-probe".into()).spawn(|| {
        dispatcher::get_default(has_layer)
            && tracing::span_enabled!(target: "trading_telemetry::order", Level::INFO, order_id)
    });
    // Without an answer there is nothing to tell.
    asked.is_ok_and(|asked| asked.join().unwrap_or(true))
}

fn has_layer(current: &Dispatch) -> bool {
    current.downcast_ref::<Marker>().is_some()
}

/// Tells that a subscriber has our layer, whose type depends on the subscriber's.
struct Marker;

impl<S: Subscriber> Layer<S> for Marker {}

/// A layer that is there once the telemetry is. It passes on what our layers hear.
struct Late<T: 'static>(fn(&'static Started) -> Option<&'static T>);

impl<T> Late<T> {
    fn get(&self) -> Option<&'static T> {
        self.0(STARTED.get()?)
    }
}

impl<S: Subscriber, T: Layer<S>> Layer<S> for Late<T> {
    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.get().is_none_or(|layer| layer.enabled(metadata, context))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(layer) = self.get() {
            layer.on_new_span(attributes, id, context);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(layer) = self.get() {
            layer.on_record(id, values, context);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Some(layer) = self.get() {
            layer.on_event(event, context);
        }
    }
}

/// The filter of lines, for people and for the export: nothing before the start, and never the exporter's own, which
/// are told once and in our words.
struct LateFilter;

impl<S> Filter<S> for LateFilter {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        let started = STARTED.get().filter(|_| !otlp::is_exporters(metadata));
        started.is_some_and(|started| started.filter.enabled(metadata, context))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let started = STARTED.get().filter(|_| !otlp::is_exporters(metadata));
        started
            .map_or_else(Interest::never, |started| Filter::<S>::callsite_enabled(&started.filter, metadata))
    }
}

/// The tracer of order spans and of all others.
struct LateTracer;

impl Tracer for LateTracer {
    type Span = Span;

    fn build_with_context(&self, builder: SpanBuilder, parent: &OtelContext) -> Span {
        match STARTED.get() {
            Some(started) => started.tracer.build_with_context(builder, parent),
            // Only the layer of somebody else can ask before the start: no span comes here.
            None => SdkTracerProvider::default().tracer("").build_with_context(builder, parent),
        }
    }
}
