//! Decisions about one order.

use tracing::Value;

use super::AUDIT_TARGET;
use crate::metrics::labels::{OrderStatus, OrderType, RiskResult, Side};
use crate::metrics::{Metrics, Strategy};

/// What an order asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrderDetails {
    /// Purchase or sale.
    pub side: Side,
    /// How the price is found.
    pub order_type: OrderType,
    /// Number of shares; a whole number is written as one.
    pub quantity: f64,
    /// Limit or stop price in dollars, where the type has one.
    pub price: Option<f64>,
}

/// One execution of an order, or of a part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// Number of shares.
    pub quantity: f64,
    /// Price in dollars.
    pub price: f64,
    /// Time from signal to fill in milliseconds.
    pub latency_ms: f64,
    /// Slippage in basis points, positive when it cost money.
    pub slippage_bps: f64,
}

/// An order whose decisions are written: symbol and order id are on every line, inside an order span or outside.
#[derive(Clone, Debug)]
pub struct AuditedOrder<'a> {
    metrics: &'a Metrics,
    strategy: &'a Strategy,
    order_id: &'a str,
    symbol: &'a str,
    details: OrderDetails,
}

/// Writes a line about the order: what every such line has, around what this one says.
macro_rules! line {
    ($order:expr, $event:literal $(, $field:ident = $value:expr)* $(,)?) => {
        tracing::info!(
            target: AUDIT_TARGET,
            symbol = $order.symbol,
            order_id = $order.order_id,
            $($field = $value,)*
            side = $order.details.side.as_str(),
            order_type = $order.details.order_type.as_str(),
            strategy = $order.strategy.name(),
            $event
        )
    };
}

impl<'a> AuditedOrder<'a> {
    pub(super) fn new(
        metrics: &'a Metrics,
        strategy: &'a Strategy,
        order_id: &'a str,
        symbol: &'a str,
        details: OrderDetails,
    ) -> Self {
        Self { metrics, strategy, order_id, symbol, details }
    }

    /// The order goes out: `order_submitted`. It is counted at its final status, not here.
    pub fn submitted(&self) {
        let quantity = Shares::new(self.details.quantity);
        line!(self, "order_submitted", quantity = quantity.value(), price = self.details.price);
    }

    /// A risk check was made: `risk_check`. Counts it. `reason` says what decided, where it was not simply approved.
    pub fn risk_check(&self, result: RiskResult, reason: Option<&str>) {
        self.metrics.risk().check(result);
        line!(self, "risk_check", result = result.as_str(), reason = reason);
    }

    /// The order, or a part of it, is executed: `trade_executed`. Counts a trade, and records latency and slippage.
    pub fn executed(&self, fill: &Fill) {
        self.strategy.trade(self.details.side);
        self.metrics.execution().fill_latency_ms(fill.latency_ms);
        self.metrics.execution().slippage_bps(fill.slippage_bps);
        let quantity = Shares::new(fill.quantity);
        line!(
            self,
            "trade_executed",
            quantity = quantity.value(),
            price = fill.price,
            latency_ms = fill.latency_ms,
            slippage_bps = fill.slippage_bps,
        );
    }

    /// The order is filled in full: `order_filled`. Counts it.
    pub fn filled(&self) {
        self.count(OrderStatus::Filled);
        let quantity = Shares::new(self.details.quantity);
        line!(self, "order_filled", quantity = quantity.value());
    }

    /// Part of the order is filled, and the rest is cancelled: `order_partially_filled`. Counts it.
    pub fn partially_filled(&self, filled_quantity: f64, reason: &str) {
        self.count(OrderStatus::PartiallyFilled);
        let (filled, quantity) = (Shares::new(filled_quantity), Shares::new(self.details.quantity));
        line!(
            self,
            "order_partially_filled",
            reason = reason,
            filled_quantity = filled.value(),
            quantity = quantity.value(),
        );
    }

    /// The order is cancelled before any fill: `order_cancelled`. Counts it.
    pub fn cancelled(&self, reason: &str) {
        self.count(OrderStatus::Cancelled);
        line!(self, "order_cancelled", reason = reason);
    }

    /// The order is refused: `order_rejected`. Counts it. `limit` is the limit that it would have broken, where there
    /// is one.
    pub fn rejected(&self, reason: &str, limit: Option<f64>) {
        self.count(OrderStatus::Rejected);
        let limit = limit.map(Shares::new);
        line!(self, "order_rejected", reason = reason, limit = limit.as_ref().map(Shares::value));
    }

    /// The order ran out of time: `order_expired`. Counts it.
    pub fn expired(&self, reason: &str) {
        self.count(OrderStatus::Expired);
        line!(self, "order_expired", reason = reason);
    }

    /// The position that the order closes ends with this profit or loss in dollars: `trade_closed`. Records the P&L.
    pub fn closed(&self, pnl_dollars: f64) {
        self.strategy.pnl_dollars(pnl_dollars);
        line!(self, "trade_closed", pnl_dollars = pnl_dollars);
    }

    fn count(&self, status: OrderStatus) {
        self.strategy.order(self.details.side, self.details.order_type, status);
    }
}

/// A number as a field: whole ones without `.0`, as a number of shares is written.
struct Shares {
    whole: Option<i64>,
    exact: f64,
}

impl Shares {
    fn new(quantity: f64) -> Self {
        // Above 2^53 every float is whole, and none is a number of shares.
        let is_whole = quantity.fract() == 0.0 && quantity.abs() < 9e15;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        let whole = is_whole.then_some(quantity as i64);
        Self { whole, exact: quantity }
    }

    fn value(&self) -> &dyn Value {
        match &self.whole {
            Some(whole) => whole,
            None => &self.exact,
        }
    }
}
