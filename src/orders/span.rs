//! Order spans.

use tracing::Span;

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
        if THREAD.try_with(|_| ()).is_err() {
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

thread_local! {
    static THREAD: Lives = const { Lives };
}

/// Gone once the thread is being torn down, as the locals then are that the registry of spans stands on. It panics
/// without them, and a panic in a destructor of a thread's local ends the process.
struct Lives;

impl Drop for Lives {
    fn drop(&mut self) {}
}
