//! A log line on its way to OTLP.

use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId};
use opentelemetry::{InstrumentationScope, StringValue};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use crate::logs::{CUT_MARK, Chain, FAILED_MARK, MAX_VALUE};
use crate::orders::{Identity, ORDER_ID, STRATEGY, SYMBOL};

/// What the caller's thread takes down; the record is made of it on the exporter's.
#[derive(Debug)]
pub(super) struct LogItem {
    time: SystemTime,
    metadata: &'static Metadata<'static>,
    body: Option<AnyValue>,
    fields: Vec<(&'static str, AnyValue)>,
    span: Option<(TraceId, SpanId, TraceFlags)>,
    order: Option<Identity>,
    bytes: usize,
}

impl LogItem {
    pub(super) fn new(event: &Event<'_>, order: Option<&Identity>, span: Option<&SpanContext>) -> Self {
        let mut item = Self {
            time: SystemTime::now(),
            metadata: event.metadata(),
            body: None,
            fields: Vec::with_capacity(event.metadata().fields().len()),
            span: span
                .filter(|span| span.is_valid())
                .map(|span| (span.trace_id(), span.span_id(), span.trace_flags())),
            order: order.cloned(),
            bytes: size_of::<Self>(),
        };
        event.record(&mut item);
        item
    }

    /// About what it takes in memory and on the wire.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, field: &Field, value: AnyValue) {
        self.bytes += size_of::<(&str, AnyValue)>();
        if let AnyValue::String(text) = &value {
            self.bytes += text.as_str().len();
        }
        match field.name() {
            "message" => self.body = Some(value),
            name => self.fields.push((name, value)),
        }
    }

    fn write(self, record: &mut SdkLogRecord) {
        record.set_timestamp(self.time);
        record.set_observed_timestamp(self.time);
        record.set_target(self.metadata.target());
        let (severity, text) = severity(*self.metadata.level());
        record.set_severity_number(severity);
        record.set_severity_text(text);
        if let Some(body) = self.body {
            record.set_body(body);
        }
        if let Some((trace_id, span_id, flags)) = self.span {
            record.set_trace_context(trace_id, span_id, Some(flags));
        }
        if let Some(order) = self.order {
            let Identity { order_id, symbol, strategy } = order;
            for (name, value) in [(ORDER_ID, Some(order_id)), (SYMBOL, symbol), (STRATEGY, strategy)] {
                // A line's own field is the nearer one.
                if let Some(value) = value
                    && !self.fields.iter().any(|(field, _)| *field == name)
                {
                    record.add_attribute(name, AnyValue::String(StringValue::from(value)));
                }
            }
        }
        record.add_attributes(self.fields);
    }
}

fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::TRACE => (Severity::Trace, "TRACE"),
        Level::DEBUG => (Severity::Debug, "DEBUG"),
        Level::INFO => (Severity::Info, "INFO"),
        Level::WARN => (Severity::Warn, "WARN"),
        Level::ERROR => (Severity::Error, "ERROR"),
    }
}

impl Visit for LogItem {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, text(format_args!("{value:?}")).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, text(format_args!("{value}")).into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.push(field, value.into()),
            Err(_) => self.push(field, value.to_string().into()),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.push(field, value.into()),
            Err(_) => self.push(field, value.to_string().into()),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match i64::try_from(value) {
            Ok(value) => self.push(field, value.into()),
            Err(_) => self.push(field, value.to_string().into()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.bytes += value.len();
        self.push(field, AnyValue::Bytes(Box::new(value.to_vec())));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, text(format_args!("{}", Chain(value))).into());
    }
}

/// A value as far as it can be formatted: what is too long, fails or panics is cut there and marked, as in the file.
fn text(value: fmt::Arguments<'_>) -> String {
    let mut bounded = Bounded { text: String::new(), cut: false };
    let outcome = catch_unwind(AssertUnwindSafe(|| bounded.write_fmt(value)));
    if bounded.cut {
        bounded.text.push_str(CUT_MARK);
    } else if !matches!(outcome, Ok(Ok(()))) {
        bounded.text.push_str(FAILED_MARK);
    }
    bounded.text
}

struct Bounded {
    text: String,
    cut: bool,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(MAX_VALUE - self.text.len());
        self.text.push_str(&text[..fits]);
        self.cut = fits < text.len();
        if self.cut { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Makes the SDK's records, which only a logger can.
pub(super) struct Records {
    logger: SdkLogger,
    scope: InstrumentationScope,
}

impl Default for Records {
    fn default() -> Self {
        let scope = InstrumentationScope::builder("trading_telemetry").build();
        let logger = SdkLoggerProvider::builder().build().logger_with_scope(scope.clone());
        Self { logger, scope }
    }
}

impl Records {
    pub(super) fn of(&self, items: Vec<LogItem>) -> Vec<SdkLogRecord> {
        let record = |item: LogItem| {
            let mut record = self.logger.create_log_record();
            item.write(&mut record);
            record
        };
        items.into_iter().map(record).collect()
    }

    pub(super) fn scope(&self) -> &InstrumentationScope {
        &self.scope
    }
}
