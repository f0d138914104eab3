//! The money: cash, positions, realised P&L, and the count of day trades.

use std::collections::{BTreeMap, VecDeque};

use crate::bars::{Bar, Day};
use crate::orders::{Book, opposite, sign};
use crate::telemetry::Side;

/// Dollars per share, and at least [`MINIMUM_COMMISSION`] per execution.
const COMMISSION_PER_SHARE: f64 = 0.005;
const MINIMUM_COMMISSION: f64 = 1.0;

/// Dollars of positions, long and short together, that a dollar of equity carries: nothing is bought on credit, and a
/// short sale is covered in full.
pub(crate) const LEVERAGE: f64 = 1.0;

/// What one execution of `quantity` shares costs, in dollars.
pub(crate) fn commission(quantity: u32) -> f64 {
    (f64::from(quantity) * COMMISSION_PER_SHARE).max(MINIMUM_COMMISSION)
}

/// An open position of one book.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    /// [`Side::Buy`] is long, [`Side::Sell`] short.
    pub(crate) side: Side,
    pub(crate) quantity: u32,
    pub(crate) entry_price: f64,
    /// Number of the day on which it was opened.
    pub(crate) opened: usize,
    /// Dollars realised so far, commissions taken off.
    realised: f64,
    /// The latest price.
    mark: f64,
}

impl Position {
    fn signed_value(&self) -> f64 {
        sign(self.side) * f64::from(self.quantity) * self.mark
    }
}

/// A position that was closed in full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClosedTrade {
    pub(crate) pnl_dollars: f64,
    pub(crate) opened: usize,
}

/// Cash and positions.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    cash: f64,
    positions: BTreeMap<Book, Position>,
}

impl Account {
    pub(crate) fn new(cash: f64) -> Self {
        Self { cash, positions: BTreeMap::new() }
    }

    pub(crate) fn cash(&self) -> f64 {
        self.cash
    }

    pub(crate) fn position(&self, book: Book) -> Option<&Position> {
        self.positions.get(&book)
    }

    pub(crate) fn open_positions(&self) -> usize {
        self.positions.len()
    }

    /// Values every position at one of the day's prices.
    pub(crate) fn mark(&mut self, day: &Day, price: fn(&Bar) -> f64) {
        for (book, position) in &mut self.positions {
            if let Some(bar) = day.bar(book.symbol) {
                position.mark = price(bar);
            }
        }
    }

    pub(crate) fn equity(&self) -> f64 {
        self.cash + self.positions.values().map(Position::signed_value).sum::<f64>()
    }

    /// Long and short positions together, in dollars.
    pub(crate) fn exposure(&self) -> f64 {
        self.positions.values().map(|position| position.signed_value().abs()).sum()
    }

    /// Dollars for which positions may still be opened.
    pub(crate) fn buying_power(&self) -> f64 {
        self.equity() * LEVERAGE - self.exposure()
    }

    /// Opens a position or adds to it.
    pub(crate) fn open(&mut self, book: Book, side: Side, quantity: u32, price: f64, day: usize) {
        let fee = commission(quantity);
        self.cash -= sign(side) * f64::from(quantity) * price + fee;
        let empty =
            Position { side, quantity: 0, entry_price: price, opened: day, realised: 0.0, mark: price };
        let position = self.positions.entry(book).or_insert(empty);
        let before = f64::from(position.quantity);
        let added = f64::from(quantity);
        position.entry_price = (position.entry_price * before + price * added) / (before + added);
        position.quantity += quantity;
        position.realised -= fee;
        position.mark = price;
    }

    /// Closes up to `quantity` shares of a position; `Some` once nothing of it is left.
    pub(crate) fn close(&mut self, book: Book, quantity: u32, price: f64) -> Option<ClosedTrade> {
        let position = self.positions.get_mut(&book)?;
        let quantity = quantity.min(position.quantity);
        let fee = commission(quantity);
        let shares = f64::from(quantity);
        self.cash -= sign(opposite(position.side)) * shares * price + fee;
        position.realised += sign(position.side) * shares * (price - position.entry_price) - fee;
        position.quantity -= quantity;
        position.mark = price;
        if position.quantity > 0 {
            return None;
        }
        let position = self.positions.remove(&book)?;
        Some(ClosedTrade { pnl_dollars: position.realised, opened: position.opened })
    }
}

/// Day trades in a rolling window. The house keeps to the limit of small accounts, whatever its equity.
#[derive(Clone, Debug, Default)]
pub(crate) struct DayTrades {
    days: VecDeque<usize>,
}

impl DayTrades {
    /// Day trades that a pattern-day-trader rule allows in the window.
    pub(crate) const LIMIT: u32 = 3;
    const WINDOW_DAYS: usize = 5;

    pub(crate) fn record(&mut self, today: usize) {
        self.days.push_back(today);
    }

    pub(crate) fn used(&mut self, today: usize) -> u32 {
        while self.days.front().is_some_and(|&day| day + Self::WINDOW_DAYS <= today) {
            self.days.pop_front();
        }
        u32::try_from(self.days.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: Book = Book { strategy: "s", symbol: "AAPL" };

    fn close_to(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_long_trade_adds_its_gain_less_two_commissions() {
        let mut account = Account::new(10_000.0);
        account.open(BOOK, Side::Buy, 100, 50.0, 3);
        assert!(close_to(account.cash(), 4_999.0));
        assert!(close_to(account.buying_power(), 4_999.0));
        assert_eq!(account.close(BOOK, 40, 52.0), None);
        let trade = account.close(BOOK, 100, 51.0).unwrap();
        assert!(close_to(trade.pnl_dollars, 40.0 * 2.0 + 60.0 - 3.0));
        assert!(close_to(account.equity(), 10_000.0 + trade.pnl_dollars));
        assert_eq!((trade.opened, account.open_positions()), (3, 0));
    }

    #[test]
    fn a_short_trade_earns_when_the_price_falls() {
        let mut account = Account::new(10_000.0);
        account.open(BOOK, Side::Sell, 100, 50.0, 0);
        assert!(close_to(account.equity(), 9_999.0));
        assert!(close_to(account.buying_power(), 4_999.0));
        let trade = account.close(BOOK, 100, 45.0).unwrap();
        assert!(close_to(trade.pnl_dollars, 498.0));
        assert!(close_to(account.equity(), 10_498.0));
    }

    #[test]
    fn a_day_trade_counts_for_five_days() {
        let mut trades = DayTrades::default();
        trades.record(10);
        trades.record(12);
        assert_eq!(trades.used(14), 2);
        assert_eq!(trades.used(15), 1);
        assert_eq!(trades.used(17), 0);
    }
}
