//! The replay's recorder, with a witness: each fact is counted and its telling timed before it is believed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use tracing::span::EnteredSpan;

pub(crate) use crate::replay::{OrderStatus, OrderType, Portfolio, RiskResult, Side};

use crate::latency::Latencies;
use crate::orders::{Fill, Order};
use crate::replay;

/// Series, as the scrape writes them, and what they must stand at.
pub(crate) type Counts = BTreeMap<String, u64>;

/// A kind of call whose times belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// A metric alone.
    Metric,
    /// A decision: metric and audit line.
    Decision,
    /// An order's span, begun.
    Span,
}

impl Call {
    pub(crate) const ALL: [Self; 3] = [Self::Metric, Self::Decision, Self::Span];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Decision => "decision",
            Self::Span => "span",
        }
    }
}

/// What one thread has told.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) counts: Counts,
    pub(crate) lines: u64,
    pub(crate) times: BTreeMap<Call, Latencies>,
}

impl Witness {
    pub(crate) fn new() -> Self {
        let times = Call::ALL.map(|call| (call, Latencies::new()));
        Self { counts: Counts::new(), lines: 0, times: times.into() }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (series, count) in other.counts {
            *self.counts.entry(series).or_default() += count;
        }
        self.lines += other.lines;
        for (call, times) in &mut self.times {
            times.merge(&other.times[call]);
        }
    }
}

/// Tells the replay's own recorder, and keeps a witness. One for each thread.
pub(crate) struct Recorder {
    replay: replay::Recorder,
    witness: RefCell<Witness>,
}

impl Recorder {
    pub(crate) fn new(replay: replay::Recorder) -> Self {
        Self { replay, witness: RefCell::new(Witness::new()) }
    }

    pub(crate) fn into_witness(self) -> Witness {
        self.witness.into_inner()
    }

    pub(crate) fn order_span(&self, order: &Order, stage: &str) -> EnteredSpan {
        self.timed(Call::Span, |replay| replay.order_span(order, stage))
    }

    pub(crate) fn order_submitted(&self, order: &Order) {
        self.decided(|replay| replay.order_submitted(order));
    }

    pub(crate) fn risk_checked(&self, order: &Order, result: RiskResult, reason: &str) {
        self.decided(|replay| replay.risk_checked(order, result, reason));
        self.counts(format!(r#"trading_risk_checks_total{{result="{}"}}"#, result.as_str()));
    }

    pub(crate) fn order_filled(&self, fill: &Fill) {
        self.decided(|replay| replay.order_filled(fill));
        let ticket = &fill.order.ticket;
        let (side, strategy) = (ticket.side.as_str(), ticket.book.strategy);
        self.counts(format!(r#"trading_trades_total{{side="{side}",strategy="{strategy}"}}"#));
        self.counts("trading_fill_latency_ms_count".to_owned());
        self.counts("trading_slippage_bps_count".to_owned());
    }

    pub(crate) fn order_final(&self, order: &Order, filled: u32, status: OrderStatus, reason: &str) {
        self.decided(|replay| replay.order_final(order, filled, status, reason));
        let ticket = &order.ticket;
        self.counts(format!(
            r#"trading_orders_total{{order_type="{}",side="{}",status="{}",strategy="{}"}}"#,
            ticket.kind.order_type().as_str(),
            ticket.side.as_str(),
            status.as_str(),
            ticket.book.strategy,
        ));
    }

    pub(crate) fn trade_closed(&self, order: &Order, pnl_dollars: f64) {
        self.decided(|replay| replay.trade_closed(order, pnl_dollars));
        let strategy = order.ticket.book.strategy;
        self.counts(format!(r#"trading_trade_pnl_dollars_count{{strategy="{strategy}"}}"#));
    }

    pub(crate) fn day_trade(&self, order: &Order, used: u32) {
        self.decided(|replay| replay.day_trade(order, used));
    }

    pub(crate) fn day_trades_used(&self, used: u32) {
        self.timed(Call::Metric, |replay| replay.day_trades_used(used));
    }

    pub(crate) fn breaker(&self, name: &str, tripped: bool, reason: &str) {
        self.replay.breaker(name, tripped, reason);
    }

    pub(crate) fn kill_switch(&self, on: bool, reason: &str) {
        self.replay.kill_switch(on, reason);
    }

    pub(crate) fn portfolio(&self, portfolio: &Portfolio) {
        self.timed(Call::Metric, |replay| replay.portfolio(portfolio));
    }

    pub(crate) fn prediction(&self, confidence: f64) {
        self.timed(Call::Metric, |replay| replay.prediction(confidence));
        self.counts("trading_ml_prediction_confidence_count".to_owned());
    }

    pub(crate) fn model(
        &self,
        accuracy: Option<f64>,
        psi: Option<f64>,
        importances: Option<&[(&'static str, f64)]>,
    ) {
        self.replay.model(accuracy, psi, importances);
    }

    pub(crate) fn model_retrained(&self, accuracy: Option<f64>) {
        self.replay.model_retrained(accuracy);
    }

    pub(crate) fn portfolio_started(&self, cash: f64) {
        self.replay.portfolio_started(cash);
    }

    fn decided(&self, tell: impl FnOnce(&replay::Recorder)) {
        self.timed(Call::Decision, tell);
        self.witness.borrow_mut().lines += 1;
    }

    fn timed<T>(&self, call: Call, tell: impl FnOnce(&replay::Recorder) -> T) -> T {
        let start = Instant::now();
        let told = tell(&self.replay);
        let took = start.elapsed();
        if let Some(times) = self.witness.borrow_mut().times.get_mut(&call) {
            times.add(took);
        }
        told
    }

    fn counts(&self, series: String) {
        *self.witness.borrow_mut().counts.entry(series).or_default() += 1;
    }
}
