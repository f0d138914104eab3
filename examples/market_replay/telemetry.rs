//! Every fact that the desk tells the outside world: one method each. Nothing else in this example knows how it is told.

pub(crate) use trading_telemetry::{OrderStatus, OrderType, RiskResult, Side};

use trading_telemetry::alerts::event::MetadataValue;
use trading_telemetry::audit::{self, AuditedOrder, OrderDetails};
use trading_telemetry::{PortfolioSnapshot, Strategy, Telemetry};

use std::time::Duration;

use tracing::span::EnteredSpan;

use crate::orders::{Fill, Kind, Order};
use crate::risk::RiskManager;

const NO_METADATA: [(&str, MetadataValue); 0] = [];

/// The portfolio at a close.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portfolio {
    pub(crate) equity_dollars: f64,
    pub(crate) cash_dollars: f64,
    pub(crate) positions: usize,
    pub(crate) daily_pnl_dollars: f64,
    pub(crate) daily_pnl_pct: f64,
    pub(crate) drawdown_pct: f64,
}

/// Records what happens; one per process.
#[derive(Debug)]
pub(crate) struct Recorder {
    telemetry: Telemetry,
}

impl Recorder {
    /// Starts the telemetry of this process, for days that last so long.
    pub(crate) fn start(pace: Option<Duration>) -> Result<Self, Box<dyn std::error::Error>> {
        let mut builder = Telemetry::builder();
        if std::env::var_os("SA_ALERTS__EVALUATION_INTERVAL_SECONDS").is_none() {
            // Several times a day, so that no day is missed.
            let interval = pace.map_or(1.0, |pace| (pace.as_secs_f64() / 4.0).clamp(0.05, 1.0));
            builder = builder.set("alerts.evaluation_interval_seconds", interval.to_string());
        }
        if std::env::var_os("SA_LOGGING__FORMAT").is_none() {
            // The terminal is the progress line's; a line of the log for each order would tear it apart.
            builder = builder.set("logging.format", "json");
        }
        let telemetry = builder
            .service_name("market-replay")
            .set("system.version", env!("CARGO_PKG_VERSION"))
            .set("system.environment", "replay")
            .set("system.broker", "paper")
            // Months pass within the ten minutes of the default: what comes and goes there is no flapping here.
            .set("alerts.flapping.changes", "10000")
            .init()?;
        Ok(Self::new(telemetry))
    }

    /// Records into this telemetry.
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry }
    }

    /// Where a person can look, one line each.
    pub(crate) fn where_to_look(&self) -> String {
        let metrics = self.telemetry.metrics_addresses().first().map_or_else(
            || {
                "not yet: the port is in use; free it, or set SA_MONITORING__PROMETHEUS_PORT to another"
                    .to_owned()
            },
            |address| format!("http://{address}/metrics"),
        );
        format!("metrics   {metrics}\nlog       {}", self.telemetry.log_file().display())
    }

    /// Flushes everything and says what became of it.
    pub(crate) fn shutdown(self) -> Result<String, Box<dyn std::error::Error>> {
        Ok(self.telemetry.shutdown()?.to_string())
    }

    /// What is recorded while the guard lives belongs to the order.
    pub(crate) fn order_span(&self, order: &Order, stage: &str) -> EnteredSpan {
        let book = order.ticket.book;
        let id = order.id.to_string();
        self.telemetry.order(&id).symbol(book.symbol).strategy(book.strategy).span(stage).entered()
    }

    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is for one lifetime")]
    pub(crate) fn order_submitted(&self, order: &Order) {
        self.audit(order, |order| order.submitted());
    }

    pub(crate) fn risk_checked(&self, order: &Order, result: RiskResult, reason: &str) {
        self.audit(order, |order| order.risk_check(result, Some(reason)));
    }

    pub(crate) fn order_filled(&self, fill: &Fill) {
        self.audit(&fill.order, |order| {
            order.executed(&audit::Fill {
                quantity: fill.quantity.into(),
                price: fill.price,
                latency_ms: fill.latency_ms,
                slippage_bps: fill.slippage_bps,
            });
        });
    }

    /// The order's one final status.
    pub(crate) fn order_final(&self, order: &Order, filled: u32, status: OrderStatus, reason: &str) {
        self.audit(order, |order| match status {
            OrderStatus::Filled => order.filled(),
            OrderStatus::PartiallyFilled => order.partially_filled(filled.into(), reason),
            OrderStatus::Cancelled => order.cancelled(reason),
            OrderStatus::Rejected => order.rejected(reason, None),
            OrderStatus::Expired => order.expired(reason),
        });
    }

    pub(crate) fn trade_closed(&self, order: &Order, pnl_dollars: f64) {
        self.audit(order, |order| order.closed(pnl_dollars));
    }

    pub(crate) fn day_trade(&self, order: &Order, used: u32) {
        self.telemetry.audit().pdt_day_trade_recorded(order.ticket.book.symbol, used);
    }

    /// Day trades in the window, at each close: it also shrinks.
    pub(crate) fn day_trades_used(&self, used: u32) {
        self.telemetry.metrics().risk().pdt_trades_used(used);
    }

    pub(crate) fn breaker(&self, name: &str, tripped: bool, reason: &str) {
        if tripped {
            self.telemetry.audit().breaker_tripped(name, reason);
        } else {
            self.telemetry.audit().breaker_reset(name, reason);
        }
    }

    pub(crate) fn kill_switch(&self, on: bool, reason: &str) {
        if on {
            self.telemetry.audit().kill_switch_on(reason, NO_METADATA);
        } else {
            self.telemetry.audit().kill_switch_off(reason);
        }
    }

    pub(crate) fn portfolio(&self, portfolio: &Portfolio) {
        self.telemetry.metrics().portfolio().record(&PortfolioSnapshot {
            equity_dollars: portfolio.equity_dollars,
            cash_dollars: portfolio.cash_dollars,
            positions: u32::try_from(portfolio.positions).unwrap_or(u32::MAX),
            daily_pnl_dollars: portfolio.daily_pnl_dollars,
            daily_pnl_pct: portfolio.daily_pnl_pct,
            drawdown_pct: portfolio.drawdown_pct,
        });
    }

    pub(crate) fn prediction(&self, confidence: f64) {
        self.telemetry.metrics().ml().prediction_confidence(confidence);
    }

    pub(crate) fn model(
        &self,
        accuracy: Option<f64>,
        psi: Option<f64>,
        importances: Option<&[(&'static str, f64)]>,
    ) {
        let ml = self.telemetry.metrics().ml();
        if let Some(accuracy) = accuracy {
            ml.accuracy(accuracy);
        }
        if let Some(psi) = psi {
            ml.psi(psi);
        }
        if let Some(importances) = importances {
            ml.feature_importances(importances.iter().copied());
        }
    }

    #[expect(clippy::unused_self, reason = "every fact is told to the recorder")]
    pub(crate) fn model_retrained(&self, accuracy: Option<f64>) {
        tracing::info!(accuracy, "model_retrained");
    }

    /// A portfolio begins: nothing is tripped.
    pub(crate) fn portfolio_started(&self, cash: f64) {
        for name in RiskManager::BREAKERS {
            self.breaker(name, false, "start");
        }
        self.kill_switch(false, "start");
        self.day_trades_used(0);
        tracing::info!(cash, "portfolio_started");
    }

    fn strategy(&self, order: &Order) -> Strategy {
        self.telemetry.metrics().strategy(order.ticket.book.strategy)
    }

    fn audit(&self, order: &Order, write: impl FnOnce(&AuditedOrder<'_>)) {
        let ticket = &order.ticket;
        let price = match ticket.kind {
            Kind::Market => None,
            Kind::Limit(price) | Kind::Stop(price) => Some(price),
        };
        let details = OrderDetails {
            side: ticket.side,
            order_type: ticket.kind.order_type(),
            quantity: ticket.quantity.into(),
            price,
        };
        let id = order.id.to_string();
        let strategy = self.strategy(order);
        write(&self.telemetry.audit().order(&strategy, &id, ticket.book.symbol, details));
    }
}
