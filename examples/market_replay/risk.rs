//! The risk manager: a check before each order, circuit breakers after each close, and the kill switch.

use crate::account::{DayTrades, LEVERAGE};
use crate::execution::whole_shares;
use crate::orders::Ticket;
use crate::telemetry::{RiskResult, Side};

const MOST_POSITIONS: usize = 6;
/// Of one position, as a share of equity.
const LARGEST_POSITION: f64 = 0.35;
/// From this drawdown on, in percent, positions are half as large.
const CAUTION_DRAWDOWN_PCT: f64 = 5.0;
/// A prediction that is surer than this, and against the order, needs a person's word.
const SURE: f64 = 0.6;

/// Days until a breaker or the kill switch arms again.
const REARM_DAYS: usize = 5;
/// Breakers that have to be open at once for the kill switch.
const BREAKERS_FOR_KILL_SWITCH: usize = 2;

/// What a check looks at besides the order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) equity: f64,
    /// Positions and entries at work, in dollars.
    pub(crate) exposure: f64,
    /// Positions and entries at work.
    pub(crate) positions: usize,
    pub(crate) drawdown_pct: f64,
    pub(crate) day_trades_used: u32,
    /// The model's probability of a rise tomorrow, once it has one.
    pub(crate) rise: Option<f64>,
    /// A person has already said yes.
    pub(crate) approved: bool,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) result: RiskResult,
    pub(crate) reason: &'static str,
    /// Shares that may go out, at once or after the approval.
    pub(crate) quantity: u32,
}

/// What changed at the close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Tripped { breaker: &'static str, value: f64, level: f64 },
    Armed { breaker: &'static str },
    KillSwitchOn { reason: &'static str },
    KillSwitchOff,
}

/// The figures that the breakers watch, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) daily_pnl_pct: f64,
    pub(crate) drawdown_pct: f64,
    pub(crate) volatility: f64,
}

/// Trips when its figure reaches its level. Once it is armed again while the figure is still there, it takes a figure
/// that is worse than before by [`Self::WORSE`]: otherwise a portfolio that has lost its 10 % could never trade its way
/// back.
#[derive(Clone, Debug)]
struct Breaker {
    name: &'static str,
    level: f64,
    worst: Option<f64>,
    arms_on: Option<usize>,
}

impl Breaker {
    /// Percentage points.
    const WORSE: f64 = 1.0;

    const fn new(name: &'static str, level: f64) -> Self {
        Self { name, level, worst: None, arms_on: None }
    }

    fn is_tripped(&self) -> bool {
        self.arms_on.is_some()
    }

    fn update(&mut self, today: usize, value: f64) -> Option<Change> {
        if let Some(day) = self.arms_on {
            self.worst = self.worst.map(|worst| worst.max(value));
            if today < day {
                return None;
            }
            self.arms_on = None;
            return Some(Change::Armed { breaker: self.name });
        }
        if value < self.level {
            self.worst = None;
            return None;
        }
        if self.worst.is_some_and(|worst| value < worst + Self::WORSE) {
            return None;
        }
        self.worst = Some(value);
        self.arms_on = Some(today + REARM_DAYS);
        Some(Change::Tripped { breaker: self.name, value, level: self.level })
    }
}

/// Limits, breakers and the kill switch.
#[derive(Clone, Debug)]
pub(crate) struct RiskManager {
    daily_loss: Breaker,
    drawdown: Breaker,
    volatility: Breaker,
    /// Not a breaker of its own: past it the kill switch goes on at once.
    ruin: Breaker,
    kill_switch_off_on: Option<usize>,
}

impl RiskManager {
    pub(crate) const BREAKERS: [&'static str; 3] = ["daily_loss", "drawdown", "volatility"];

    pub(crate) fn new() -> Self {
        let [daily_loss, drawdown, volatility] = Self::BREAKERS;
        Self {
            daily_loss: Breaker::new(daily_loss, 3.0),
            drawdown: Breaker::new(drawdown, 10.0),
            volatility: Breaker::new(volatility, 70.0),
            ruin: Breaker::new("ruin", 15.0),
            kill_switch_off_on: None,
        }
    }

    /// Why nothing may be opened now.
    pub(crate) fn halted(&self) -> Option<&'static str> {
        if self.kill_switch_off_on.is_some() {
            return Some("kill_switch");
        }
        self.breakers().find(|breaker| breaker.is_tripped()).map(|breaker| breaker.name)
    }

    fn breakers(&self) -> impl Iterator<Item = &Breaker> {
        [&self.daily_loss, &self.drawdown, &self.volatility].into_iter()
    }

    /// Decides about an order. One that closes a position always may go out.
    pub(crate) fn check(&self, ticket: &Ticket, facts: &Facts) -> Decision {
        let decide = |result, reason, quantity| Decision { result, reason, quantity };
        let reject = |reason| decide(RiskResult::Reject, reason, 0);
        if !ticket.opens() {
            return decide(RiskResult::Approve, "closes_a_position", ticket.quantity);
        }
        if let Some(halt) = self.halted() {
            return reject(halt);
        }
        if facts.day_trades_used >= DayTrades::LIMIT {
            return reject("pdt_limit");
        }
        if facts.positions >= MOST_POSITIONS {
            return reject("max_positions");
        }
        let caution = if facts.drawdown_pct > CAUTION_DRAWDOWN_PCT { 0.5 } else { 1.0 };
        let asked = f64::from(ticket.quantity) * caution;
        let by_size = facts.equity * LARGEST_POSITION / ticket.decided_at;
        let by_exposure = (facts.equity * LEVERAGE - facts.exposure) / ticket.decided_at;
        let quantity = whole_shares(asked.min(by_size).min(by_exposure));
        if quantity == 0 {
            return reject("max_exposure");
        }
        if !facts.approved {
            if facts.day_trades_used + 1 == DayTrades::LIMIT {
                return decide(RiskResult::RequireApproval, "last_day_trade", quantity);
            }
            let against = |rise: f64| if ticket.side == Side::Buy { 1.0 - rise } else { rise };
            if facts.rise.is_some_and(|rise| against(rise) > SURE) {
                return decide(RiskResult::RequireApproval, "model_disagrees", quantity);
            }
        }
        if quantity == ticket.quantity {
            return decide(RiskResult::Approve, "within_limits", quantity);
        }
        let reason = if by_exposure < asked.min(by_size) {
            "max_exposure"
        } else if by_size < asked {
            "max_position_size"
        } else {
            "drawdown"
        };
        decide(RiskResult::ReduceSize, reason, quantity)
    }

    /// Looks at the day's figures, and says what they changed, in the order in which it happened.
    pub(crate) fn close_of_day(&mut self, today: usize, figures: &Figures) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.kill_switch_off_on.is_some_and(|day| today >= day) {
            self.kill_switch_off_on = None;
            changes.push(Change::KillSwitchOff);
        }
        changes.extend(self.daily_loss.update(today, -figures.daily_pnl_pct));
        changes.extend(self.drawdown.update(today, figures.drawdown_pct));
        changes.extend(self.volatility.update(today, figures.volatility));
        let tripped_now = changes.iter().any(|change| matches!(change, Change::Tripped { .. }));
        let several =
            self.breakers().filter(|breaker| breaker.is_tripped()).count() >= BREAKERS_FOR_KILL_SWITCH;
        let ruin = matches!(self.ruin.update(today, figures.drawdown_pct), Some(Change::Tripped { .. }));
        let reason = match (ruin, tripped_now && several) {
            (true, _) => "drawdown beyond 15 %",
            (_, true) => "two circuit breakers tripped",
            _ => return changes,
        };
        if self.kill_switch_off_on.replace(today + REARM_DAYS).is_none() {
            changes.push(Change::KillSwitchOn { reason });
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::{Book, Bracket, Kind, Purpose};

    const CALM: Figures = Figures { daily_pnl_pct: 0.0, drawdown_pct: 0.0, volatility: 20.0 };
    const FACTS: Facts = Facts {
        equity: 100_000.0,
        exposure: 0.0,
        positions: 0,
        drawdown_pct: 0.0,
        day_trades_used: 0,
        rise: None,
        approved: false,
    };

    fn buy(quantity: u32) -> Ticket {
        Ticket {
            book: Book { strategy: "s", symbol: "AAPL" },
            side: Side::Buy,
            kind: Kind::Market,
            purpose: Purpose::Open(Bracket { stop_distance: 1.0, target_distance: 1.0 }),
            quantity,
            days: 1,
            decided_at: 100.0,
        }
    }

    #[test]
    fn each_limit_has_its_answer() {
        let risk = RiskManager::new();
        let answer = |quantity, facts: Facts| {
            let decision = risk.check(&buy(quantity), &facts);
            (decision.result.as_str(), decision.reason, decision.quantity)
        };
        assert_eq!(answer(100, FACTS), ("approve", "within_limits", 100));
        assert_eq!(answer(500, FACTS), ("reduce_size", "max_position_size", 350));
        assert_eq!(answer(300, Facts { exposure: 90_000.0, ..FACTS }), ("reduce_size", "max_exposure", 100));
        assert_eq!(answer(300, Facts { exposure: 100_000.0, ..FACTS }), ("reject", "max_exposure", 0));
        assert_eq!(answer(100, Facts { drawdown_pct: 6.0, ..FACTS }), ("reduce_size", "drawdown", 50));
        assert_eq!(answer(100, Facts { positions: 6, ..FACTS }), ("reject", "max_positions", 0));
        assert_eq!(answer(100, Facts { day_trades_used: 3, ..FACTS }), ("reject", "pdt_limit", 0));
        let last = Facts { day_trades_used: 2, ..FACTS };
        assert_eq!(answer(100, last), ("require_approval", "last_day_trade", 100));
        assert_eq!(answer(100, Facts { approved: true, ..last }), ("approve", "within_limits", 100));
        assert_eq!(
            answer(100, Facts { rise: Some(0.3), ..FACTS }),
            ("require_approval", "model_disagrees", 100)
        );
        assert_eq!(answer(100, Facts { rise: Some(0.7), ..FACTS }), ("approve", "within_limits", 100));
    }

    #[test]
    fn a_tripped_breaker_stops_entries_and_never_exits() {
        let mut risk = RiskManager::new();
        risk.close_of_day(0, &Figures { daily_pnl_pct: -3.0, ..CALM });
        assert_eq!(risk.check(&buy(100), &FACTS).reason, "daily_loss");
        let exit = Ticket { purpose: Purpose::Close, ..buy(100) };
        assert_eq!(risk.check(&exit, &FACTS).result, RiskResult::Approve);
    }

    #[test]
    fn a_breaker_arms_after_five_days_and_then_takes_a_figure_worse_by_a_point() {
        let mut risk = RiskManager::new();
        let lost = |drawdown_pct| Figures { drawdown_pct, ..CALM };
        let tripped = |value| vec![Change::Tripped { breaker: "drawdown", value, level: 10.0 }];
        assert_eq!(risk.close_of_day(0, &lost(10.0)), tripped(10.0));
        assert_eq!(risk.close_of_day(4, &lost(12.0)), []);
        assert_eq!(risk.close_of_day(5, &lost(11.0)), [Change::Armed { breaker: "drawdown" }]);
        assert_eq!(risk.close_of_day(6, &lost(12.9)), []);
        assert_eq!(risk.close_of_day(7, &lost(13.0)), tripped(13.0));
        risk.close_of_day(12, &CALM);
        assert_eq!(risk.close_of_day(13, &CALM), []);
        assert_eq!(risk.close_of_day(14, &lost(10.0)), tripped(10.0));
    }

    #[test]
    fn two_breakers_or_ruin_turn_the_kill_switch_on_for_five_days() {
        let mut risk = RiskManager::new();
        let worst = Figures { daily_pnl_pct: -4.0, drawdown_pct: 4.0, volatility: 80.0 };
        let on = Change::KillSwitchOn { reason: "two circuit breakers tripped" };
        assert_eq!(risk.close_of_day(0, &worst).last(), Some(&on));
        assert_eq!(risk.halted(), Some("kill_switch"));
        assert_eq!(risk.close_of_day(5, &CALM).first(), Some(&Change::KillSwitchOff));
        assert_eq!(risk.halted(), None);
        let ruined = Figures { drawdown_pct: 16.0, ..CALM };
        let on = Change::KillSwitchOn { reason: "drawdown beyond 15 %" };
        assert_eq!(risk.close_of_day(6, &ruined).last(), Some(&on));
    }
}
