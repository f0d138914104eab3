//! How an order meets a bar: whether it is reached, at which price, for how many shares, after how long.
//!
//! Only four prices of a day are known. Where they leave open what came first, the worse case for us is taken.

use crate::account::commission;
use crate::bars::Bar;
use crate::orders::{Bracket, Kind, sign};
use crate::telemetry::Side;

/// We take at most one share in ten thousand, so that the bars would have been the same without us.
const PARTICIPATION: f64 = 1e-4;
/// Half the spread, in basis points.
const HALF_SPREAD_BPS: f64 = 1.0;
/// A market order gives away this share of the day's range besides.
const RANGE_SHARE: f64 = 0.01;

/// When in the day an order was executed, as far as a bar tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// At the open: the whole bar comes after it.
    Open,
    /// The price came down to a purchase's limit (up to a sale's): the adverse extreme comes after it.
    ComingBack,
    /// The price broke through a stop: the extreme in the order's direction comes after it.
    BreakingOut,
}

/// An order that a bar reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Touch {
    pub(crate) moment: Moment,
    /// Dollars, before slippage.
    pub(crate) price: f64,
    /// The share of the bar's volume that traded at this price or better.
    volume_share: f64,
}

impl Touch {
    /// A price that a bar is known to reach after an entry on the same day.
    pub(crate) fn later(kind: Kind, side: Side, bar: &Bar) -> Self {
        let favourable = if side == Side::Buy { bar.low } else { bar.high };
        let (price, volume_share) = match kind {
            Kind::Limit(price) => (price, (price - favourable).abs() / (bar.high - bar.low)),
            Kind::Stop(price) => (price, 1.0),
            Kind::Market => (bar.close, 1.0),
        };
        Self { moment: Moment::ComingBack, price, volume_share }
    }
}

/// Whether and where a bar reaches an order.
pub(crate) fn touch(kind: Kind, side: Side, bar: &Bar) -> Option<Touch> {
    let direction = sign(side);
    // How far a price is beyond another in the order's direction: positive is dearer for us.
    let dearer = |a: f64, b: f64| direction * (a - b);
    let cheapest = if side == Side::Buy { bar.low } else { bar.high };
    let dearest = if side == Side::Buy { bar.high } else { bar.low };
    let whole = |moment, price| Some(Touch { moment, price, volume_share: 1.0 });
    match kind {
        Kind::Market => whole(Moment::Open, bar.open),
        Kind::Limit(limit) if dearer(bar.open, limit) <= 0.0 => whole(Moment::Open, bar.open),
        Kind::Limit(limit) if dearer(cheapest, limit) <= 0.0 => Some(Touch {
            moment: Moment::ComingBack,
            price: limit,
            volume_share: (limit - cheapest).abs() / (bar.high - bar.low),
        }),
        Kind::Stop(stop) if dearer(bar.open, stop) >= 0.0 => whole(Moment::Open, bar.open),
        Kind::Stop(stop) if dearer(dearest, stop) >= 0.0 => whole(Moment::BreakingOut, stop),
        Kind::Limit(_) | Kind::Stop(_) => None,
    }
}

/// Shares that can be had at a touch.
pub(crate) fn available(touch: &Touch, bar: &Bar) -> u32 {
    whole_shares(bar.volume * PARTICIPATION * touch.volume_share)
}

/// The price of an execution, in dollars.
///
/// A limit order gives nothing away. Any other pays half the spread, a share of the day's range, and its own impact
/// by the square-root law: range × √(shares ÷ the day's volume).
pub(crate) fn fill_price(kind: Kind, side: Side, touch: &Touch, quantity: u32, bar: &Bar) -> f64 {
    if let Kind::Limit(_) = kind {
        return touch.price;
    }
    let impact = (f64::from(quantity) / bar.volume).sqrt();
    let slippage_bps = HALF_SPREAD_BPS + bar.range_bps() * (RANGE_SHARE + impact);
    touch.price * (1.0 + sign(side) * slippage_bps / 10_000.0)
}

/// What an execution cost against the price that was asked for (the open, the limit, the stop), in basis points;
/// positive is a cost. A stop that the market jumped over costs the jump too.
pub(crate) fn slippage_bps(kind: Kind, side: Side, price: f64, bar: &Bar) -> f64 {
    let asked = match kind {
        Kind::Market => bar.open,
        Kind::Limit(price) | Kind::Stop(price) => price,
    };
    sign(side) * (price - asked) / asked * 10_000.0
}

/// Whether price and commission of an execution fit into `dollars`.
pub(crate) fn affordable(dollars: f64, quantity: u32, price: f64) -> bool {
    f64::from(quantity) * price + commission(quantity) <= dollars
}

/// Which exit of a new position is reached on the day of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SameDayExit {
    Stop,
    Target,
}

/// Looks at what is known of the bar after the entry; the close always is.
pub(crate) fn same_day_exit(
    side: Side,
    entry: f64,
    bracket: &Bracket,
    moment: Moment,
    bar: &Bar,
) -> Option<SameDayExit> {
    let gain = |price: f64| sign(side) * (price - entry);
    let (adverse, favourable) = if side == Side::Buy { (bar.low, bar.high) } else { (bar.high, bar.low) };
    let worst = if moment == Moment::BreakingOut { gain(bar.close) } else { gain(adverse) };
    let best = if moment == Moment::ComingBack { gain(bar.close) } else { gain(favourable) };
    if worst <= -bracket.stop_distance {
        Some(SameDayExit::Stop)
    } else if best >= bracket.target_distance {
        Some(SameDayExit::Target)
    } else {
        None
    }
}

/// Rounds down; nothing of a negative number or a NaN.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as wanted")]
pub(crate) fn whole_shares(shares: f64) -> u32 {
    shares as u32
}

/// Simulated times from signal to fill: a seeded generator, since daily bars know no milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    state: u64,
}

impl Latency {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Milliseconds: log-normal, longer for an order that waits in a queue, and on a hectic day.
    pub(crate) fn next_ms(&mut self, kind: Kind, bar: &Bar) -> f64 {
        let typical = match kind {
            Kind::Market => 350.0,
            Kind::Stop(_) => 600.0,
            Kind::Limit(_) => 1_400.0,
        };
        // Twelve uniforms make a normal, near enough.
        let normal = (0..12).map(|_| self.next_uniform()).sum::<f64>() - 6.0;
        typical * (1.0 + bar.range_bps() / 500.0) * (0.6 * normal).exp()
    }

    /// 0 to 1, by `SplitMix64`.
    fn next_uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: Bar = Bar { open: 100.0, high: 104.0, low: 96.0, close: 101.0, volume: 1_000_000.0 };

    fn price_and_moment(kind: Kind, side: Side) -> Option<(f64, Moment)> {
        touch(kind, side, &BAR).map(|touch| (touch.price, touch.moment))
    }

    #[test]
    fn orders_are_reached_where_the_bar_says() {
        use {Kind::*, Moment::*, Side::*};
        for (kind, side, expected) in [
            (Market, Buy, Some((100.0, Moment::Open))),
            (Limit(95.9), Buy, None),
            (Limit(96.0), Buy, Some((96.0, ComingBack))),
            (Limit(101.0), Buy, Some((100.0, Moment::Open))),
            (Limit(104.1), Sell, None),
            (Limit(103.0), Sell, Some((103.0, ComingBack))),
            (Stop(104.1), Buy, None),
            (Stop(103.0), Buy, Some((103.0, BreakingOut))),
            (Stop(99.0), Buy, Some((100.0, Moment::Open))),
            (Stop(97.0), Sell, Some((97.0, BreakingOut))),
            (Stop(101.0), Sell, Some((100.0, Moment::Open))),
        ] {
            assert_eq!(price_and_moment(kind, side), expected, "{kind:?} {side:?}");
        }
    }

    #[test]
    fn a_limit_gets_only_the_volume_beyond_it() {
        let at = |limit| available(&touch(Kind::Limit(limit), Side::Buy, &BAR).unwrap(), &BAR);
        assert_eq!(at(98.0), 25);
        assert_eq!(at(96.0), 0);
        assert_eq!(at(100.0), 100);
    }

    #[test]
    fn market_orders_pay_and_limit_orders_do_not() {
        let cost = |kind, side, quantity| {
            let touch = touch(kind, side, &BAR).unwrap();
            slippage_bps(kind, side, fill_price(kind, side, &touch, quantity, &BAR), &BAR)
        };
        // A range of 800 bp: 1 + 8 and √(100 / 1,000,000) × 800 = 8.
        assert!((cost(Kind::Market, Side::Buy, 100) - 17.0).abs() < 1e-6);
        assert!((cost(Kind::Market, Side::Sell, 100) - 17.0).abs() < 1e-6);
        assert_eq!(cost(Kind::Limit(98.0), Side::Buy, 10), 0.0);
        assert!(cost(Kind::Limit(101.0), Side::Buy, 10) < 0.0);
        assert!(cost(Kind::Stop(102.0), Side::Sell, 10) > 190.0);
    }

    #[test]
    fn an_exit_on_the_day_of_entry_needs_a_price_that_came_later() {
        let bracket = Bracket { stop_distance: 3.0, target_distance: 3.0 };
        let exit = |side, entry, moment| same_day_exit(side, entry, &bracket, moment, &BAR);
        assert_eq!(exit(Side::Buy, 100.0, Moment::Open), Some(SameDayExit::Stop));
        assert_eq!(exit(Side::Buy, 98.5, Moment::ComingBack), None);
        assert_eq!(exit(Side::Buy, 97.5, Moment::ComingBack), Some(SameDayExit::Target));
        assert_eq!(exit(Side::Buy, 100.5, Moment::BreakingOut), Some(SameDayExit::Target));
        assert_eq!(exit(Side::Buy, 102.0, Moment::BreakingOut), None);
        assert_eq!(exit(Side::Sell, 98.5, Moment::BreakingOut), None);
        assert_eq!(exit(Side::Sell, 97.5, Moment::BreakingOut), Some(SameDayExit::Stop));
    }

    #[test]
    fn latencies_repeat_and_are_positive() {
        let run = || {
            let mut latency = Latency::seeded(7);
            (0..1_000).map(|_| latency.next_ms(Kind::Market, &BAR)).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        assert!(run().iter().all(|ms| *ms > 0.0));
        let mean = run().iter().sum::<f64>() / 1_000.0;
        assert!((800.0..1_500.0).contains(&mean), "{mean}");
    }
}
