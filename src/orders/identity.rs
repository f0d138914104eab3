//! The identity of an order: a value of the OpenTelemetry [`Context`](opentelemetry::Context), where the log line, child spans, exemplars,
//! alerts and baggage all read it.

use std::sync::Arc;

use opentelemetry::trace::{SpanContext, TraceContextExt};

use super::context::with_context;

/// Names of the identity's fields: on spans, log lines and exemplars alike.
pub(crate) const ORDER_ID: &str = "order_id";
pub(crate) const SYMBOL: &str = "symbol";
pub(crate) const STRATEGY: &str = "strategy";

/// Longest order id, symbol or strategy that is taken from another process.
const MAX_BYTES: usize = 128;

/// What everything inside an order span carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(crate) order_id: Arc<str>,
    pub(crate) symbol: Option<Arc<str>>,
    pub(crate) strategy: Option<Arc<str>>,
}

impl Identity {
    /// The order's id.
    pub fn order_id(&self) -> &str {
        &self.order_id
    }

    /// The instrument that is traded, where the order span names it.
    pub fn symbol(&self) -> Option<&str> {
        self.symbol.as_deref()
    }

    /// The strategy that sent the order, where the order span names it.
    pub fn strategy(&self) -> Option<&str> {
        self.strategy.as_deref()
    }

    /// An identity that came from another process, unless its order id may not cross; a symbol or strategy that may
    /// not is left out.
    pub(crate) fn from_outside(
        order_id: String,
        symbol: Option<String>,
        strategy: Option<String>,
    ) -> Option<Self> {
        let crossing = |value: String| Self::may_cross(&value).then(|| Arc::from(value));
        Some(Self {
            order_id: crossing(order_id)?,
            symbol: symbol.and_then(crossing),
            strategy: strategy.and_then(crossing),
        })
    }

    /// Whether a value is one that processes take from each other: something to read, of at most 128 bytes.
    pub(crate) fn may_cross(value: &str) -> bool {
        !value.is_empty() && value.len() <= MAX_BYTES && !value.chars().any(char::is_control)
    }

    /// Calls `read` with the current order's identity and the current span. Neither allocates nor locks.
    pub(crate) fn with_current<T>(read: impl FnOnce(Option<&Self>, Option<&SpanContext>) -> T) -> T {
        with_context(|context| {
            if context.has_active_span() {
                read(context.get::<Self>(), Some(context.span().span_context()))
            } else {
                read(context.get::<Self>(), None)
            }
        })
    }
}
