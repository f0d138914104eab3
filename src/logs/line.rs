//! The layer that makes a line of each event.
//!
//! The order of keys: `event`, the call's fields in their order, then context, then `timestamp` and `level`. Context is
//! the order's identity (`order_id`, `symbol`, `strategy`), the fields of the enclosing spans, innermost first, and the
//! added keys `trace_id`, `span_id`, `service`, `logger`. What the call names wins over an inner span, an inner span over
//! an outer one: what a user of structlog's contextvars expects. Spans at `debug` and `trace`, where libraries describe
//! their insides, and fields that speak to the tracer (`otel.…`) give none.
//!
//! No key occurs twice: a field named like one that the line has by itself (`event`, `timestamp`, `level`, an added key),
//! or named twice in one call, gets a `_` appended.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::console::Style;
use super::json::{Line, Stamp, Tail};
use super::queue::{Queue, Rank};
use super::stats::{DropReason, LogStats};
use crate::clock::Clock;
use crate::orders::Identity;

/// The target of the audit trail: no filter removes it, and its lines are the last to be dropped.
pub const AUDIT_TARGET: &str = "audit";

/// The target of the alerts' lines, which no filter removes either: of the channels, the log always works.
pub(crate) const ALERT_TARGET: &str = "trading_telemetry::alerts";

const IDENTITY: [&str; 3] = ["order_id", "symbol", "strategy"];

/// Formats events and hands them to the queues.
#[derive(Debug)]
pub(crate) struct LineLayer {
    pub(super) service: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) main: Arc<Queue>,
    /// Where audit lines go; `main` when they have no file of their own.
    pub(super) audit: Arc<Queue>,
    pub(super) console: Option<(Arc<Queue>, Style)>,
    pub(super) stats: Arc<LogStats>,
}

#[derive(Default)]
struct Scratch {
    line: Line,
    stamp: Stamp,
    console: String,
}

thread_local! {
    /// Taken out while in use, so that an event inside a value's own formatting finds a fresh one.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The fields of a span, as the lines inside it repeat them.
struct SpanFields(Line);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if *metadata.level() > Level::INFO || metadata.fields().is_empty() {
            return;
        }
        let of_order = metadata.fields().field(IDENTITY[0]).is_some();
        let source = if of_order { Source::OrderSpan } else { Source::Span };
        let mut line = Line::default();
        let mut fields = Fields::new(&mut line, source);
        attributes.record(&mut fields);
        if of_order && !fields.has_order {
            // Its order is not known yet, so the context does not carry the rest of the identity either.
            line.clear();
            attributes.record(&mut Fields::new(&mut line, Source::Span));
        }
        if !line.fields().is_empty()
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().replace(SpanFields(line));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if *span.metadata().level() > Level::INFO {
            return;
        }
        let mut line = Line::default();
        values.record(&mut Fields::new(&mut line, Source::Span));
        let mut extensions = span.extensions_mut();
        if let Some(SpanFields(before)) = extensions.get_mut() {
            line.inherit(before);
        }
        extensions.replace(SpanFields(line));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut scratch = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default();
        self.write(event, &context, &mut scratch);
        let _ = SCRATCH.try_with(|cell| cell.set(Some(scratch)));
    }
}

impl LineLayer {
    fn write<S: Subscriber + for<'a> LookupSpan<'a>>(
        &self,
        event: &Event<'_>,
        context: &Context<'_, S>,
        scratch: &mut Scratch,
    ) {
        let Scratch { line, stamp, console } = scratch;
        let metadata = event.metadata();
        line.clear();
        event.record(&mut Fields::new(line, Source::Event));
        if !line.has_event() {
            line.set_event(format_args!("{}", metadata.name()));
        }
        let ids = Identity::with_current(|identity, span| {
            if let Some(identity) = identity {
                let values = [Some(identity.order_id()), identity.symbol(), identity.strategy()];
                for (key, value) in IDENTITY.into_iter().zip(values) {
                    if let Some(value) = value {
                        line.text_unless_named(key, value);
                    }
                }
            }
            span.filter(|span| span.is_valid())
                .map(|span| (span.trace_id().to_bytes(), span.span_id().to_bytes()))
        });
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                line.inherit(fields);
            }
        }
        if line.failures() > 0 {
            self.stats.lose(DropReason::EncodeFailed, line.failures(), 0);
        }

        let now = self.clock.wall();
        let rank = Rank::of(metadata);
        if let Some((queue, style)) = &self.console {
            console.clear();
            style.render(line, metadata, now, stamp, console);
            queue.push(rank, &[console]);
        }
        let tail = Tail {
            ids,
            service: &self.service,
            logger: metadata.target(),
            now,
            level: level_name(*metadata.level()),
        };
        let queue = if rank == Rank::Audit { &self.audit } else { &self.main };
        queue.push(rank, &line.finish(&tail, stamp));
    }
}

impl Rank {
    fn of(metadata: &Metadata<'_>) -> Self {
        if metadata.target() == AUDIT_TARGET {
            Self::Audit
        } else if *metadata.level() <= Level::WARN {
            Self::Warning
        } else {
            Self::Ordinary
        }
    }
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// Where fields come from, and so which of them belong on the line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Event,
    Span,
    /// A span whose identity the OpenTelemetry context carries.
    OrderSpan,
}

struct Fields<'a> {
    line: &'a mut Line,
    source: Source,
    /// Whether an order span names its order.
    has_order: bool,
}

impl<'a> Fields<'a> {
    fn new(line: &'a mut Line, source: Source) -> Self {
        Self { line, source, has_order: false }
    }

    /// The key of `field`; `None` leaves it out.
    fn key(&mut self, field: &Field) -> Option<&'static str> {
        let name = field.name();
        let key = name.strip_prefix("r#").unwrap_or(name);
        let elsewhere = match self.source {
            Source::Event => false,
            Source::Span => key.starts_with("otel."),
            Source::OrderSpan => {
                self.has_order |= key == IDENTITY[0];
                key.starts_with("otel.") || IDENTITY.contains(&key)
            }
        };
        (!elsewhere).then_some(key)
    }

    fn number(&mut self, field: &Field, value: impl fmt::Display) {
        if let Some(key) = self.key(field) {
            self.line.bare(key, value);
        }
    }

    /// The first `message` of an event is its name.
    fn is_event(&self, field: &Field) -> bool {
        self.source == Source::Event && field.name() == "message" && !self.line.has_event()
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.is_event(field) {
            self.line.set_event(value);
        } else if let Some(key) = self.key(field) {
            self.line.format(key, value);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if let Some(key) = self.key(field) {
            self.line.float(key, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.is_event(field) {
            self.line.set_event_text(value);
        } else if let Some(key) = self.key(field) {
            self.line.text(key, value);
        }
    }

    /// An error and its sources are one value, whatever the field's name.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if self.key(field).is_some() {
            self.line.format("exception", format_args!("{}", Chain(value)));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// `error: source: its source`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)?;
        let mut source = self.0.source();
        // A chain that leads back to itself must end as well.
        for _ in 0..64 {
            let Some(error) = source else { break };
            write!(out, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
