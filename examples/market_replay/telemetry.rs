//! Every fact that the desk tells the outside world: one method each. Nothing else in this example knows how it is told.

// Each method's comment is the call that joins its line once the handle is there.
#![expect(
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "the recorder holds nothing and cannot fail before it holds the handle"
)]

pub(crate) use trading_telemetry::metrics::labels::{OrderStatus, OrderType, RiskResult, Side};

use tracing::span::EnteredSpan;

use crate::orders::{Fill, Order};
use crate::risk::RiskManager;

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

/// Records what happens. Cheap to share; one per process.
#[derive(Debug)]
pub(crate) struct Recorder {
    // telemetry: trading_telemetry::Telemetry,
}

impl Recorder {
    /// Starts the telemetry of this process.
    pub(crate) fn start() -> Result<Self, Box<dyn std::error::Error>> {
        // let telemetry = trading_telemetry::Telemetry::builder()
        //     .service_name("market-replay")
        //     .version(env!("CARGO_PKG_VERSION"))
        //     .environment("replay")
        //     .broker("paper")
        //     .init()?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            environment = "replay",
            broker = "paper",
            "started"
        );
        Ok(Self {})
    }

    /// Where a person can look, one line each.
    pub(crate) fn where_to_look() -> &'static str {
        "metrics   http://127.0.0.1:8001/metrics\nhealth    http://127.0.0.1:8001/health"
    }

    /// Flushes everything and says what became of it.
    pub(crate) fn shutdown(self) -> Result<String, Box<dyn std::error::Error>> {
        // Ok(self.telemetry.shutdown()?.to_string())
        tracing::info!("stopped");
        Ok("telemetry: nothing to flush".to_owned())
    }

    /// What is recorded while the guard lives belongs to the order.
    pub(crate) fn order_span(&self, order: &Order, stage: &'static str) -> EnteredSpan {
        let (id, book) = (order.id, order.ticket.book);
        // self.telemetry.order(id.to_string()).symbol(book.symbol).strategy(book.strategy).span(stage).entered()
        tracing::info_span!(
            "order", otel.name = stage, order_id = %id, symbol = book.symbol, strategy = book.strategy
        )
        .entered()
    }

    pub(crate) fn order_submitted(&self, order: &Order) {
        let ticket = &order.ticket;
        tracing::info!(
            side = ticket.side.as_str(),
            order_type = ticket.kind.order_type().as_str(),
            quantity = ticket.quantity,
            price = ticket.decided_at,
            "order_submitted"
        );
    }

    pub(crate) fn risk_checked(&self, result: RiskResult, reason: &'static str, quantity: u32) {
        // self.telemetry.metrics().risk().check(result);
        tracing::info!(result = result.as_str(), reason, quantity, "risk_check");
    }

    pub(crate) fn order_filled(&self, fill: &Fill) {
        // self.telemetry.metrics().strategy(fill.order.ticket.book.strategy).trade(fill.order.ticket.side);
        // self.telemetry.metrics().execution().fill_latency_ms(fill.latency_ms);
        // self.telemetry.metrics().execution().slippage_bps(fill.slippage_bps);
        tracing::info!(
            quantity = fill.quantity,
            price = fill.price,
            slippage_bps = fill.slippage_bps,
            simulated_latency_ms = fill.latency_ms,
            "order_filled"
        );
    }

    /// The order's one final status.
    pub(crate) fn order_final(&self, order: &Order, status: OrderStatus, reason: &'static str) {
        let ticket = &order.ticket;
        // self.telemetry.metrics().strategy(ticket.book.strategy).order(ticket.side, ticket.kind.order_type(), status);
        tracing::info!(
            side = ticket.side.as_str(),
            order_type = ticket.kind.order_type().as_str(),
            status = status.as_str(),
            reason,
            "order_final"
        );
    }

    pub(crate) fn trade_closed(&self, order: &Order, pnl_dollars: f64, days_held: usize) {
        // self.telemetry.metrics().strategy(order.ticket.book.strategy).pnl_dollars(pnl_dollars);
        tracing::info!(side = order.ticket.side.as_str(), pnl_dollars, days_held, "trade_closed");
    }

    pub(crate) fn day_trade(&self, used: u32) {
        tracing::info!(day_trades_used = used, "pdt_day_trade_recorded");
    }

    /// Day trades in the window, at each close: it also shrinks.
    pub(crate) fn day_trades_used(&self, used: u32) {
        // self.telemetry.metrics().risk().pdt_trades_used(used);
        tracing::debug!(used, "day_trades_used");
    }

    pub(crate) fn breaker(&self, name: &'static str, tripped: bool) {
        // self.telemetry.metrics().risk().breaker(name).set(tripped);
        tracing::warn!(breaker = name, tripped, "breaker_changed");
    }

    pub(crate) fn kill_switch(&self, on: bool, reason: &'static str) {
        // self.telemetry.metrics().risk().kill_switch(on);
        tracing::warn!(on, reason, "kill_switch_changed");
    }

    pub(crate) fn portfolio(&self, portfolio: &Portfolio) {
        // self.telemetry.metrics().portfolio().record(&PortfolioSnapshot { … });
        tracing::debug!(
            equity_dollars = portfolio.equity_dollars,
            cash_dollars = portfolio.cash_dollars,
            positions = portfolio.positions,
            daily_pnl_dollars = portfolio.daily_pnl_dollars,
            daily_pnl_pct = portfolio.daily_pnl_pct,
            drawdown_pct = portfolio.drawdown_pct,
            "portfolio"
        );
    }

    pub(crate) fn prediction(&self, confidence: f64) {
        // self.telemetry.metrics().ml().prediction_confidence(confidence);
        tracing::debug!(confidence, "prediction");
    }

    pub(crate) fn model(
        &self,
        accuracy: Option<f64>,
        psi: Option<f64>,
        importances: Option<&[(&'static str, f64)]>,
    ) {
        // let ml = self.telemetry.metrics().ml();
        // accuracy.map(|value| ml.accuracy(value)); psi.map(|value| ml.psi(value));
        // importances.map(|shares| ml.feature_importances(shares.iter().copied()));
        tracing::debug!(accuracy, psi, ?importances, "model");
    }

    pub(crate) fn model_retrained(&self, accuracy: Option<f64>) {
        tracing::info!(accuracy, "model_retrained");
    }

    /// A portfolio begins: nothing is tripped.
    pub(crate) fn portfolio_started(&self, cash: f64) {
        for name in RiskManager::BREAKERS {
            self.breaker(name, false);
        }
        self.kill_switch(false, "start");
        self.day_trades_used(0);
        tracing::info!(cash, "portfolio_started");
    }
}
