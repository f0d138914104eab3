//! Decisions about one order.

use tracing::Value;

use super::AUDIT_TARGET;
use crate::metrics::Metrics;
use crate::metrics::Strategy;
use crate::metrics::labels::{OrderStatus, OrderType, RiskResult, Side};

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

/// An order whose decisions are written: symbol and order id are on every line, inside an order span or outside.
#[derive(Clone, Debug)]
pub struct AuditedOrder<'a> {
    metrics: Metrics,
    strategy: &'a Strategy,
    order_id: &'a str,
    symbol: &'a str,
}

/// A number of shares as a field: whole numbers without `.0`.
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

impl<'a> AuditedOrder<'a> {
    pub(super) fn new(metrics: Metrics, strategy: &'a Strategy, order_id: &'a str, symbol: &'a str) -> Self {
        Self { metrics, strategy, order_id, symbol }
    }

    /// The order goes out: `order_submitted`. It is counted at its final status, not here.
    pub fn submitted(&self, details: &OrderDetails) {
        let Self { order_id, symbol, .. } = *self;
        let quantity = Shares::new(details.quantity);
        tracing::info!(
            target: AUDIT_TARGET,
            symbol, order_id,
            quantity = quantity.value(),
            price = details.price,
            side = details.side.as_str(),
            order_type = details.order_type.as_str(),
            strategy = self.strategy.name(),
            "order_submitted"
        );
    }

    /// A risk check was made: `risk_check`. `reason` says what decided it, where it was not simply approved.
    pub fn risk_check(&self, result: RiskResult, reason: Option<&str>) {
        let Self { order_id, symbol, .. } = *self;
        self.metrics.risk().check(result);
        tracing::info!(target: AUDIT_TARGET, symbol, order_id, result = result.as_str(), reason, "risk_check");
    }

    /// The order is filled in full: `order_filled`. Counts the order and a trade.
    pub fn filled(&self, details: &OrderDetails, fill_price: f64) {
        self.execution(details, details.quantity, fill_price, OrderStatus::Filled, "order_filled");
    }

    /// Part of the order is filled and the rest cancelled: `order_partially_filled`. Counts the order and a trade.
    pub fn partially_filled(&self, details: &OrderDetails, filled_quantity: f64, fill_price: f64) {
        self.execution(
            details,
            filled_quantity,
            fill_price,
            OrderStatus::PartiallyFilled,
            "order_partially_filled",
        );
    }

    /// The order is cancelled before any fill: `order_cancelled`.
    pub fn cancelled(&self, details: &OrderDetails, reason: &str) {
        self.ended(details, OrderStatus::Cancelled, reason, None);
    }

    /// The order is refused: `order_rejected`. `limit` is the limit that it broke, where there is one.
    pub fn rejected(&self, details: &OrderDetails, reason: &str, limit: Option<f64>) {
        self.ended(details, OrderStatus::Rejected, reason, limit);
    }

    /// The order ran out of time: `order_expired`.
    pub fn expired(&self, details: &OrderDetails, reason: &str) {
        self.ended(details, OrderStatus::Expired, reason, None);
    }

    /// The position that the order opened or closed is closed at this profit or loss in dollars: `trade_closed`.
    pub fn closed(&self, pnl_dollars: f64) {
        let Self { order_id, symbol, .. } = *self;
        self.strategy.pnl_dollars(pnl_dollars);
        tracing::info!(
            target: AUDIT_TARGET,
            symbol, order_id, pnl_dollars,
            strategy = self.strategy.name(),
            "trade_closed"
        );
    }

    fn execution(
        &self,
        details: &OrderDetails,
        quantity: f64,
        fill_price: f64,
        status: OrderStatus,
        event: &'static str,
    ) {
        let Self { order_id, symbol, .. } = *self;
        self.strategy.order(details.side, details.order_type, status);
        self.strategy.trade(details.side);
        let (quantity, ordered) = (Shares::new(quantity), Shares::new(details.quantity));
        tracing::info!(
            target: AUDIT_TARGET,
            symbol, order_id,
            quantity = quantity.value(),
            fill_price,
            side = details.side.as_str(),
            order_type = details.order_type.as_str(),
            ordered_quantity = (status == OrderStatus::PartiallyFilled).then(|| ordered.value()),
            strategy = self.strategy.name(),
            "{event}"
        );
    }

    fn ended(&self, details: &OrderDetails, status: OrderStatus, reason: &str, limit: Option<f64>) {
        let Self { order_id, symbol, .. } = *self;
        self.strategy.order(details.side, details.order_type, status);
        let quantity = Shares::new(details.quantity);
        tracing::info!(
            target: AUDIT_TARGET,
            symbol, order_id, reason, limit,
            quantity = quantity.value(),
            price = details.price,
            side = details.side.as_str(),
            order_type = details.order_type.as_str(),
            strategy = self.strategy.name(),
            "order_{}",
            status.as_str().to_ascii_lowercase()
        );
    }
}
