//! Two simple strategies. Each looks at one stock in the evening and writes at most one ticket.
//!
//! Their constants were chosen on these very two years, for a story worth watching. They are no advice to anybody.

use crate::account::Position;
use crate::bars::Bar;
use crate::execution::whole_shares;
use crate::indicators::{average_close, average_true_range, change, relative_strength};
use crate::orders::{Book, Bracket, Kind, Purpose, Ticket, opposite, sign};
use crate::telemetry::Side;

/// What a strategy sees of one stock after the close.
pub(crate) struct View<'a> {
    pub(crate) book: Book,
    /// Up to today, oldest first.
    pub(crate) bars: &'a [Bar],
    pub(crate) position: Option<&'a Position>,
    pub(crate) today: usize,
    /// Dollars.
    pub(crate) equity: f64,
}

/// A way to trade.
pub(crate) trait Strategy {
    fn name(&self) -> &'static str;
    /// `None`: nothing to do tonight.
    fn evening(&self, view: &View<'_>) -> Option<Ticket>;
}

/// What an entry may lose at its stop, as a share of equity.
const RISK_PER_TRADE: f64 = 0.015;
const RANGE_DAYS: usize = 14;

/// Follows a swing of a week, both ways: in on a break-out, out when the trend is over.
pub(crate) struct SwingMomentum;

impl SwingMomentum {
    const TREND_DAYS: usize = 15;
    const SWING_DAYS: usize = 5;
    /// Relative change over the swing that counts as one.
    const THRESHOLD: f64 = 0.03;
    const MOST_DAYS_HELD: usize = 15;
}

impl Strategy for SwingMomentum {
    fn name(&self) -> &'static str {
        "SwingMomentum"
    }

    fn evening(&self, view: &View<'_>) -> Option<Ticket> {
        let today = view.bars.last()?;
        let swing = change(view.bars, Self::SWING_DAYS)?;
        let trend = today.close / average_close(view.bars, Self::TREND_DAYS)? - 1.0;
        let range = average_true_range(view.bars, RANGE_DAYS)?;
        if let Some(position) = view.position {
            let over = sign(position.side) * trend < 0.0;
            let stale = view.today - position.opened >= Self::MOST_DAYS_HELD;
            return (over || stale).then(|| leave(view, position, today.close));
        }
        let bracket = Bracket { stop_distance: 2.0 * range, target_distance: 8.0 * range };
        if swing > Self::THRESHOLD && trend > 0.0 {
            enter(view, Side::Buy, Kind::Stop(today.high), bracket, 2, today.close)
        } else if swing < -Self::THRESHOLD && trend < 0.0 {
            enter(view, Side::Sell, Kind::Stop(today.low), bracket, 2, today.close)
        } else {
            None
        }
    }
}

/// Buys what fell too fast, below the market, and sells it when it is back at its mean.
pub(crate) struct MeanReversion;

impl MeanReversion {
    const STRENGTH_DAYS: usize = 3;
    const OVERSOLD: f64 = 15.0;
    const MEAN_DAYS: usize = 10;
    const MOST_DAYS_HELD: usize = 8;
}

impl Strategy for MeanReversion {
    fn name(&self) -> &'static str {
        "MeanReversion"
    }

    fn evening(&self, view: &View<'_>) -> Option<Ticket> {
        let today = view.bars.last()?;
        let mean = average_close(view.bars, Self::MEAN_DAYS)?;
        let range = average_true_range(view.bars, RANGE_DAYS)?;
        if let Some(position) = view.position {
            let back = today.close > mean;
            let stale = view.today - position.opened >= Self::MOST_DAYS_HELD;
            return (back || stale).then(|| leave(view, position, today.close));
        }
        let strength = relative_strength(view.bars, Self::STRENGTH_DAYS)?;
        let bracket = Bracket { stop_distance: 0.75 * range, target_distance: 2.0 * range };
        if strength < Self::OVERSOLD {
            enter(view, Side::Buy, Kind::Limit(today.close - 0.5 * range), bracket, 1, today.close)
        } else {
            None
        }
    }
}

/// As many shares as lose [`RISK_PER_TRADE`] of the equity at the stop.
fn enter(view: &View<'_>, side: Side, kind: Kind, bracket: Bracket, days: u32, close: f64) -> Option<Ticket> {
    let quantity = whole_shares(view.equity * RISK_PER_TRADE / bracket.stop_distance);
    let purpose = Purpose::Open(bracket);
    (quantity > 0).then_some(Ticket {
        book: view.book,
        side,
        kind,
        purpose,
        quantity,
        days,
        decided_at: close,
    })
}

fn leave(view: &View<'_>, position: &Position, close: f64) -> Ticket {
    Ticket {
        book: view.book,
        side: opposite(position.side),
        kind: Kind::Market,
        purpose: Purpose::Close,
        quantity: position.quantity,
        days: 1,
        decided_at: close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;

    fn path(closes: impl Iterator<Item = f64>) -> Vec<Bar> {
        closes
            .map(|close| Bar { open: close, high: close + 1.0, low: close - 1.0, close, volume: 1e6 })
            .collect()
    }

    fn ask(
        strategy: &dyn Strategy,
        bars: &[Bar],
        position: Option<&Position>,
        today: usize,
    ) -> Option<Ticket> {
        let book = Book { strategy: strategy.name(), symbol: "AAPL" };
        strategy.evening(&View { book, bars, position, today, equity: 100_000.0 })
    }

    #[test]
    fn momentum_buys_a_rise_above_its_high_and_sells_a_fall_below_its_low() {
        let rise = path((0..30).map(|day| 100.0 + f64::from(day)));
        let ticket = ask(&SwingMomentum, &rise, None, 30).unwrap();
        assert_eq!((ticket.side, ticket.kind), (Side::Buy, Kind::Stop(130.0)));
        let fall = path((0..30).map(|day| 100.0 - f64::from(day)));
        let ticket = ask(&SwingMomentum, &fall, None, 30).unwrap();
        assert_eq!((ticket.side, ticket.kind), (Side::Sell, Kind::Stop(70.0)));
        assert_eq!(ask(&SwingMomentum, &path((0..30).map(|_| 100.0)), None, 30), None);
    }

    #[test]
    fn a_position_is_left_when_its_trend_is_over() {
        let mut account = Account::new(100_000.0);
        let book = Book { strategy: "SwingMomentum", symbol: "AAPL" };
        account.open(book, Side::Buy, 50, 100.0, 28);
        let position = account.position(book);
        let fall = path((0..30).map(|day| 100.0 - f64::from(day)));
        let ticket = ask(&SwingMomentum, &fall, position, 30).unwrap();
        assert_eq!((ticket.side, ticket.kind, ticket.quantity), (Side::Sell, Kind::Market, 50));
        let rise = path((0..30).map(|day| 100.0 + f64::from(day)));
        assert_eq!(ask(&SwingMomentum, &rise, position, 30), None);
    }

    #[test]
    fn reversion_bids_below_a_fall_and_leaves_at_the_mean() {
        let fall = path((0..20).map(|day| 100.0 - f64::from(day)));
        let ticket = ask(&MeanReversion, &fall, None, 20).unwrap();
        assert_eq!((ticket.side, ticket.days), (Side::Buy, 1));
        assert!(matches!(ticket.kind, Kind::Limit(price) if price == 80.0));
        // A range of 2 dollars, a stop 1.50 dollars away: 1,500 dollars at risk buy 1,000 shares.
        assert_eq!(ticket.quantity, 1_000);
        let flat = path((0..20).map(|_| 100.0));
        assert_eq!(ask(&MeanReversion, &flat, None, 20), None);
    }
}
