//! Order spans.

use tracing::Span;

use super::context::is_there;

/// An order about to be worked on; [`Self::span`] makes the span that carries it.
///
/// Everything inside the span carries the order's id, symbol and strategy: log lines, child spans, exemplars, alerts.
/// Any other `tracing` span with an `order_id` field (and `symbol`, `strategy`) does the same.
#[derive(Clone, Copy, Debug)]
#[must_use = "an order does nothing until its span is entered"]
pub struct Order<'a> {
    id: &'a str,
    symbol: Option<&'a str>,
    strategy: Option<&'a str>,
}

impl<'a> Order<'a> {
    pub(crate) fn new(id: &'a str) -> Self {
        Self { id, symbol: None, strategy: None }
    }

    /// Names the instrument that is traded.
    pub fn symbol(mut self, symbol: &'a str) -> Self {
        self.symbol = Some(symbol);
        self
    }

    /// Names the strategy that sends the order.
    pub fn strategy(mut self, strategy: &'a str) -> Self {
        self.strategy = Some(strategy);
        self
    }

    /// The span of one step of the order's life, `submit_order` say. Enter it, or instrument a future with it.
    ///
    /// It is a disabled one while the thread's own locals are destroyed.
    pub fn span(self, name: &str) -> Span {
        // The registry of spans stands on the thread's locals, too, and panics without them.
        if !is_there() {
            return Span::none();
        }
        // An absent option records nothing: the field stays empty.
        tracing::info_span!(
            target: "trading_telemetry::order",
            "order",
            otel.name = name,
            order_id = self.id,
            symbol = self.symbol,
            strategy = self.strategy,
        )
    }
}
