//! Orders, trades and their P&L, by strategy.

use std::sync::Arc;

use crate::metrics::bound::{Amount, Count, Distribution};
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::labels::{OrderStatus, OrderType, Side};
use crate::metrics::registry::Registry;

const ORDERS: &Instrument = catalog::named("trading_orders_total");
const TRADES: &Instrument = catalog::named("trading_trades_total");
const PNL: &Instrument = catalog::named("trading_trade_pnl_dollars");
const PROFIT: &Instrument = catalog::named("trading_trade_profit_dollars_total");
const LOSS: &Instrument = catalog::named("trading_trade_loss_dollars_total");

/// The instruments of one strategy, bound: get it once, keep it, clone it freely.
///
/// No call allocates, does I/O or panics.
#[derive(Clone, Debug)]
pub struct Strategy {
    /// As the service calls it, which is not what it is counted under where a cap was reached.
    name: Arc<str>,
    metrics: Arc<StrategyMetrics>,
}

/// Everything that is bound for one strategy.
#[derive(Debug)]
pub(crate) struct StrategyMetrics {
    name: Arc<str>,
    /// By side, then type, then status.
    orders: Box<[Count]>,
    /// By side.
    trades: Box<[Count]>,
    pnl: Distribution,
    profit: Amount,
    loss: Amount,
}

impl StrategyMetrics {
    pub(crate) fn bind(registry: &Registry, strategy: &str) -> Self {
        let mut orders = Vec::with_capacity(Side::ALL.len() * OrderType::ALL.len() * OrderStatus::ALL.len());
        for side in Side::VALUES {
            for order_type in OrderType::VALUES {
                for status in OrderStatus::VALUES {
                    orders.push(registry.count(ORDERS, &[side, order_type, strategy, status]));
                }
            }
        }
        Self {
            name: strategy.into(),
            orders: orders.into(),
            trades: Side::VALUES.iter().map(|side| registry.count(TRADES, &[side, strategy])).collect(),
            pnl: registry.distribution(PNL, &[strategy]),
            profit: registry.amount(PROFIT, &[strategy]),
            loss: registry.amount(LOSS, &[strategy]),
        }
    }
}

impl Strategy {
    pub(crate) fn new(name: &str, metrics: Arc<StrategyMetrics>) -> Self {
        let name = if *metrics.name == *name { Arc::clone(&metrics.name) } else { name.into() };
        Self { name, metrics }
    }

    /// The strategy's name, as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts an order at its final status. Once an order: being submitted is an event of the log, not a status, and
    /// [`AuditedOrder`](crate::audit::AuditedOrder) counts its own.
    #[inline]
    pub fn order(&self, side: Side, order_type: OrderType, status: OrderStatus) {
        let index = (side as usize * OrderType::ALL.len() + order_type as usize) * OrderStatus::ALL.len()
            + status as usize;
        if let Some(count) = self.metrics.orders.get(index) {
            count.increment();
        }
    }

    /// Counts an executed trade, where [`AuditedOrder::executed`](crate::audit::AuditedOrder::executed) does not.
    #[inline]
    pub fn trade(&self, side: Side) {
        if let Some(count) = self.metrics.trades.get(side as usize) {
            count.increment();
        }
    }

    /// Records the P&L of a closed trade in dollars; a loss is negative.
    #[inline]
    pub fn pnl_dollars(&self, pnl: f64) {
        if self.metrics.pnl.record(pnl) {
            if pnl > 0.0 {
                self.metrics.profit.add(pnl);
            } else if pnl < 0.0 {
                self.metrics.loss.add(-pnl);
            }
        }
    }
}
