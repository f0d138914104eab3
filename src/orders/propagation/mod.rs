//! An order across processes: W3C trace context and baggage, into and out of headers and string maps.
//!
//! What comes from outside is hostile until shown otherwise: its size is checked before anything is parsed, what is
//! malformed is ignored without a word, and an identity is taken only if it would fit a log line.

mod baggage;
mod carrier;
mod remote;
mod service;
#[cfg(test)]
mod tests;
mod trace_context;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};

pub use carrier::{Inbound, Outbound};
pub use remote::Remote;
pub use service::{Continued, PropagationLayer};

use super::with_context;
use carrier::{FromExtractor, IntoInjector};

/// Which headers an order crosses services in.
///
/// Inject on the way out, [`extract`](Self::extract) on the way in:
///
/// ```
/// # use std::collections::HashMap;
/// # use trading_telemetry::orders::Propagation;
/// # let propagation = Propagation::default();
/// let mut entry = HashMap::from([("quantity".to_owned(), "100".to_owned())]);
/// propagation.inject(&mut entry); // in the gateway, inside the order's span
///
/// let remote = propagation.extract(&entry); // in the executor
/// remote.span("execute_order").in_scope(|| tracing::info!("order_received")); // same trace, same order_id
/// ```
///
/// It is also a [`TextMapPropagator`], so that libraries which use OpenTelemetry's global one carry orders too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    trace_context: bool,
    baggage: bool,
}

impl Default for Propagation {
    /// Trace context and baggage, the default of the OpenTelemetry specification.
    fn default() -> Self {
        Self { trace_context: true, baggage: true }
    }
}

impl Propagation {
    /// Chooses the headers: `trace_context` is `traceparent` and `tracestate`, `baggage` holds the order's id, symbol
    /// and strategy.
    pub const fn new(trace_context: bool, baggage: bool) -> Self {
        Self { trace_context, baggage }
    }

    /// Reads a list as in `OTEL_PROPAGATORS`: `tracecontext`, `baggage`, `none`. Names that are not known here come
    /// back beside it, for a warning.
    pub fn from_names(list: &str) -> (Self, Vec<&str>) {
        let mut chosen = Self::new(false, false);
        let mut unknown = Vec::new();
        let names = || list.split(',').map(str::trim).filter(|name| !name.is_empty());
        if names().next().is_none() {
            return (Self::default(), unknown);
        }
        for name in names() {
            match name {
                "tracecontext" => chosen.trace_context = true,
                "baggage" => chosen.baggage = true,
                "none" => {}
                _ => unknown.push(name),
            }
        }
        (chosen, unknown)
    }

    /// Writes the current span and order into `carrier`: the headers of a request, the fields of a stream entry.
    ///
    /// Costs a few allocations and no lock.
    pub fn inject(&self, carrier: &mut impl Outbound) {
        with_context(|context| self.write(context, carrier));
    }

    /// The current span and order as headers, for `reqwest`'s `RequestBuilder::headers` and its like.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.inject(&mut headers);
        headers
    }

    /// Reads what another process injected. Never fails: what is absent, malformed or too large is not there.
    pub fn extract(&self, carrier: &(impl Inbound + ?Sized)) -> Remote {
        Remote::new(self.read(Context::new(), carrier))
    }

    /// A `tower` layer whose service works in the caller's trace and order.
    pub const fn layer(&self) -> PropagationLayer {
        PropagationLayer::new(*self)
    }

    fn write(self, context: &Context, carrier: &mut impl Outbound) {
        if self.trace_context {
            trace_context::write(context, carrier);
        }
        if self.baggage {
            baggage::write(context, carrier);
        }
    }

    fn read(self, context: Context, carrier: &(impl Inbound + ?Sized)) -> Context {
        let context = if self.trace_context { trace_context::read(context, carrier) } else { context };
        if self.baggage { baggage::read(context, carrier) } else { context }
    }
}

impl TextMapPropagator for Propagation {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        self.write(context, &mut IntoInjector(injector));
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        self.read(context.clone(), &FromExtractor(extractor))
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: std::sync::OnceLock<[String; 3]> = std::sync::OnceLock::new();
        let fields = FIELDS.get_or_init(|| {
            [trace_context::TRACEPARENT, trace_context::TRACESTATE, baggage::BAGGAGE].map(Into::into)
        });
        let from = if self.trace_context { 0 } else { 2 };
        let to = if self.baggage { 3 } else { 2 };
        FieldIter::new(&fields[from..to])
    }
}
