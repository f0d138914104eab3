//! The desk: it lives through a day with everything it has, and tells the recorder each fact.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::bars::{Bar, Day, Symbol};
use crate::broker::Broker;
use crate::indicators::realised_volatility;
use crate::model::{Model, Prediction, Row, features};
use crate::orders::{Book, Event, Order, Ticket};
use crate::risk::{Change, Facts, Figures, RiskManager};
use crate::strategies::{MeanReversion, Strategy, SwingMomentum, View};
use crate::telemetry::{OrderStatus, Portfolio, Recorder, RiskResult};

const STARTING_CASH: f64 = 100_000.0;
/// Days over which the market's volatility is taken.
const VOLATILITY_DAYS: usize = 10;
/// The person who is asked says no once the price has moved by this share since the decision.
const APPROVAL_TOLERANCE: f64 = 0.02;

/// One stock's past, and what was predicted of it.
#[derive(Default)]
struct Watched {
    bars: Vec<Bar>,
    last: Option<(Row, Option<Prediction>)>,
}

/// What a day came to, for the person who watches.
#[derive(Clone, Debug)]
pub(crate) struct DayReport {
    pub(crate) date: Date,
    pub(crate) portfolio: Portfolio,
    /// What deserves a line of its own.
    pub(crate) notes: Vec<String>,
}

/// A portfolio with its broker, strategies, model and risk manager.
pub(crate) struct Desk<'a> {
    recorder: &'a Recorder,
    broker: Broker,
    risk: RiskManager,
    model: Model,
    strategies: [Box<dyn Strategy>; 2],
    watched: BTreeMap<Symbol, Watched>,
    /// Daily changes of the equally weighted market.
    market: Vec<f64>,
    awaiting_approval: Vec<Order>,
    equity: f64,
    highest_equity: f64,
    drawdown_pct: f64,
    today: usize,
}

impl<'a> Desk<'a> {
    /// Starts with cash alone; order ids begin at `first_id`.
    pub(crate) fn open(recorder: &'a Recorder, first_id: u64) -> Self {
        recorder.portfolio_started(STARTING_CASH);
        Self {
            recorder,
            broker: Broker::new(STARTING_CASH, first_id),
            risk: RiskManager::new(),
            model: Model::new(),
            strategies: [Box::new(SwingMomentum), Box::new(MeanReversion)],
            watched: BTreeMap::new(),
            market: Vec::new(),
            awaiting_approval: Vec::new(),
            equity: STARTING_CASH,
            highest_equity: STARTING_CASH,
            drawdown_pct: 0.0,
            today: 0,
        }
    }

    /// Trades one day and plans the next.
    pub(crate) fn live_through(&mut self, day: &Day) -> DayReport {
        let events = self.broker.trade_day(self.today, day);
        self.tell(&events);
        self.watch(day);
        let portfolio = self.value();
        let mut notes = self.supervise(day, &portfolio);
        notes.extend(self.learn_and_predict(day));
        self.ask_again(day);
        self.plan(day);
        self.today += 1;
        DayReport { date: day.date, portfolio, notes }
    }

    /// Takes back what is still at work, so that each order has its final status; the id for the next order.
    pub(crate) fn close(mut self) -> u64 {
        for order in std::mem::take(&mut self.awaiting_approval) {
            self.finish(&order, 0, OrderStatus::Cancelled, "end_of_replay");
        }
        let events = self.broker.cancel(|_| true, "end_of_replay");
        self.tell(&events);
        self.broker.next_id()
    }

    fn tell(&self, events: &[Event]) {
        for event in events {
            match event {
                Event::Submitted(order) => {
                    let _span = self.recorder.order_span(order, "submit_order");
                    self.recorder.order_submitted(order);
                }
                Event::Fill(fill) => {
                    let _span = self.recorder.order_span(&fill.order, "fill_order");
                    self.recorder.order_filled(fill);
                }
                Event::Final { order, filled, status, reason } => {
                    self.finish(order, *filled, *status, reason);
                }
                Event::TradeClosed { order, pnl_dollars } => {
                    let _span = self.recorder.order_span(order, "close_trade");
                    self.recorder.trade_closed(order, *pnl_dollars);
                }
                Event::DayTrade { order, used } => {
                    let _span = self.recorder.order_span(order, "close_trade");
                    self.recorder.day_trade(order, *used);
                }
            }
        }
    }

    fn finish(&self, order: &Order, filled: u32, status: OrderStatus, reason: &str) {
        let _span = self.recorder.order_span(order, "finish_order");
        self.recorder.order_final(order, filled, status, reason);
    }

    fn watch(&mut self, day: &Day) {
        let mut changes = Vec::new();
        for (symbol, bar) in &day.bars {
            let watched = self.watched.entry(symbol).or_default();
            changes.extend(watched.bars.last().map(|before| bar.close / before.close - 1.0));
            watched.bars.push(*bar);
        }
        if !changes.is_empty() {
            self.market.push(changes.iter().sum::<f64>() / changes.len() as f64);
        }
    }

    fn value(&mut self) -> Portfolio {
        let account = self.broker.account();
        let equity = account.equity();
        let daily_pnl_dollars = equity - self.equity;
        let daily_pnl_pct = daily_pnl_dollars / self.equity * 100.0;
        self.equity = equity;
        self.highest_equity = self.highest_equity.max(equity);
        self.drawdown_pct = (1.0 - equity / self.highest_equity) * 100.0;
        let portfolio = Portfolio {
            equity_dollars: equity,
            cash_dollars: account.cash(),
            positions: account.open_positions(),
            daily_pnl_dollars,
            daily_pnl_pct,
            drawdown_pct: self.drawdown_pct,
        };
        self.recorder.portfolio(&portfolio);
        let used = self.broker.day_trades_used(self.today);
        self.recorder.day_trades_used(used);
        portfolio
    }

    /// Lets the risk manager look at the day.
    fn supervise(&mut self, day: &Day, portfolio: &Portfolio) -> Vec<String> {
        let recent = &self.market[self.market.len().saturating_sub(VOLATILITY_DAYS)..];
        let volatility = if recent.len() < VOLATILITY_DAYS { 0.0 } else { realised_volatility(recent) };
        let figures = Figures {
            daily_pnl_pct: portfolio.daily_pnl_pct,
            drawdown_pct: portfolio.drawdown_pct,
            volatility,
        };
        let changes = self.risk.close_of_day(self.today, &figures);
        changes.into_iter().map(|change| format!("{} {}", day.date, self.apply(change))).collect()
    }

    fn apply(&mut self, change: Change) -> String {
        match change {
            Change::Tripped { breaker, value, level } => {
                let reason = format!("{value:.1} % (level {level:.0} %)");
                self.recorder.breaker(breaker, true, &reason);
                format!("circuit breaker {breaker} tripped: {reason}")
            }
            Change::Armed { breaker } => {
                self.recorder.breaker(breaker, false, "armed again");
                format!("circuit breaker {breaker} armed again")
            }
            Change::KillSwitchOn { reason } => {
                self.recorder.kill_switch(true, reason);
                let events = self.broker.cancel(|order| order.ticket.opens(), "kill_switch");
                self.tell(&events);
                format!("KILL SWITCH ON: {reason}; no position is opened for five days")
            }
            Change::KillSwitchOff => {
                self.recorder.kill_switch(false, "armed again");
                "kill switch off and armed again".to_owned()
            }
        }
    }

    fn learn_and_predict(&mut self, day: &Day) -> Option<String> {
        for watched in self.watched.values_mut() {
            let [.., before, now] = watched.bars[..] else { continue };
            if let Some((row, prediction)) = watched.last.take() {
                self.model.learn(&row, prediction.as_ref(), now.close > before.close);
            }
        }
        let retrained = self.model.finish_day();
        for watched in self.watched.values_mut() {
            let Some(row) = features(&watched.bars) else { continue };
            let prediction = self.model.predict(&row);
            if let Some(prediction) = &prediction {
                self.recorder.prediction(prediction.confidence());
            }
            watched.last = Some((row, prediction));
        }
        let importances = self.model.importances();
        self.recorder.model(
            self.model.accuracy(),
            self.model.psi(),
            importances.as_ref().map(|shares| &shares[..]),
        );
        retrained.then(|| {
            self.recorder.model_retrained(self.model.accuracy());
            format!("{} model retrained: its scores had drifted for two weeks", day.date)
        })
    }

    /// Orders that needed a person's word get it the evening after.
    fn ask_again(&mut self, day: &Day) {
        for order in std::mem::take(&mut self.awaiting_approval) {
            let decided_at = order.ticket.decided_at;
            let close = day.bar(order.ticket.book.symbol).map(|bar| bar.close);
            let still_good = close.is_some_and(|close| (close / decided_at - 1.0).abs() < APPROVAL_TOLERANCE);
            if still_good {
                self.check_and_submit(order, true);
            } else {
                self.finish(&order, 0, OrderStatus::Cancelled, "approval_declined");
            }
        }
    }

    fn plan(&mut self, day: &Day) {
        let mut tickets: Vec<Ticket> = Vec::new();
        for strategy in &self.strategies {
            for (symbol, _) in &day.bars {
                let book = Book { strategy: strategy.name(), symbol };
                let Some(watched) = self.watched.get(symbol) else { continue };
                let waits =
                    self.broker.entries().chain(&self.awaiting_approval).any(|o| o.ticket.book == book);
                if waits {
                    continue;
                }
                let position = self.broker.account().position(book);
                let view =
                    View { book, bars: &watched.bars, position, today: self.today, equity: self.equity };
                tickets.extend(strategy.evening(&view));
            }
        }
        for ticket in tickets {
            let order = self.broker.identify(ticket);
            let span = self.recorder.order_span(&order, "submit_order");
            self.recorder.order_submitted(&order);
            drop(span);
            self.check_and_submit(order, false);
        }
    }

    fn check_and_submit(&mut self, mut order: Order, approved: bool) {
        let _span = self.recorder.order_span(&order, "check_risk");
        let prediction = self.watched.get(order.ticket.book.symbol).and_then(|watched| watched.last.as_ref());
        let entries = self.broker.entries();
        let (count, dollars) = entries.fold((0, 0.0), |(n, sum), o| (n + 1, sum + o.ticket.notional()));
        let account = self.broker.account();
        let facts = Facts {
            equity: self.equity,
            exposure: account.exposure() + dollars,
            positions: account.open_positions() + count,
            drawdown_pct: self.drawdown_pct,
            rise: prediction.and_then(|(_, prediction)| prediction.as_ref()).map(|p| p.rise),
            day_trades_used: self.broker.day_trades_used(self.today),
            approved,
        };
        let decision = self.risk.check(&order.ticket, &facts);
        self.recorder.risk_checked(&order, decision.result, decision.reason);
        match decision.result {
            RiskResult::Reject => self.finish(&order, 0, OrderStatus::Rejected, decision.reason),
            RiskResult::RequireApproval => self.awaiting_approval.push(order),
            RiskResult::Approve | RiskResult::ReduceSize => {
                order.ticket.quantity = decision.quantity;
                self.broker.submit(order);
            }
        }
    }
}
