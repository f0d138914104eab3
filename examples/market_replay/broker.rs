//! The paper broker: it works orders against the next day's bar and keeps the account.

use crate::account::{Account, DayTrades};
use crate::bars::{Bar, Day};
use crate::execution::{
    Latency, Moment, SameDayExit, Touch, affordable, available, fill_price, same_day_exit, slippage_bps,
    touch,
};
use crate::orders::{Bracket, Event, Fill, Kind, Order, OrderId, Purpose, Ticket, opposite, sign};
use crate::telemetry::OrderStatus;

/// A protective order works until its position is closed.
const UNTIL_CANCELLED: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Working {
    order: Order,
    days_left: u32,
}

/// Orders at work, and the account they change.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    account: Account,
    day_trades: DayTrades,
    working: Vec<Working>,
    latency: Latency,
    next_id: u64,
}

impl Broker {
    /// Order ids begin at `first_id`.
    pub(crate) fn new(cash: f64, first_id: u64) -> Self {
        Self {
            account: Account::new(cash),
            day_trades: DayTrades::default(),
            working: Vec::new(),
            latency: Latency::seeded(2008),
            next_id: first_id,
        }
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(crate) fn day_trades_used(&mut self, today: usize) -> u32 {
        self.day_trades.used(today)
    }

    /// Gives a ticket its identity; it goes to work with [`Self::submit`].
    pub(crate) fn identify(&mut self, ticket: Ticket) -> Order {
        let id = OrderId(self.next_id);
        self.next_id += 1;
        Order { id, ticket }
    }

    pub(crate) fn submit(&mut self, order: Order) {
        self.working.push(Working { order, days_left: order.ticket.days });
    }

    /// Orders at work that would open a position.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Order> {
        self.working.iter().map(|working| &working.order).filter(|order| order.ticket.opens())
    }

    /// Lets one day's bars pass over the orders at work and ends with the positions valued at the close.
    pub(crate) fn trade_day(&mut self, today: usize, day: &Day) -> Vec<Event> {
        let mut events = Vec::new();
        self.account.mark(day, |bar| bar.open);
        let (entries, mut exits): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.working).into_iter().partition(|working| working.order.ticket.opens());
        // Exits first, since they free the money; of two exits of one position the earlier, or else the stop.
        exits.sort_by_key(|working| (precedence(&working.order, day), working.order.id));
        for working in exits {
            self.work(working, today, day, &mut events);
        }
        self.cancel_orphans(&mut events);
        for working in entries {
            self.work(working, today, day, &mut events);
        }
        self.cancel_orphans(&mut events);
        self.account.mark(day, |bar| bar.close);
        events
    }

    /// Takes the orders back that `which` picks.
    pub(crate) fn cancel(&mut self, which: impl Fn(&Order) -> bool, reason: &'static str) -> Vec<Event> {
        let (cancelled, kept) = std::mem::take(&mut self.working).into_iter().partition(|w| which(&w.order));
        self.working = kept;
        let last = |working: Working| Event::Final {
            order: working.order,
            filled: 0,
            status: OrderStatus::Cancelled,
            reason,
        };
        cancelled.into_iter().map(last).collect()
    }

    fn cancel_orphans(&mut self, events: &mut Vec<Event>) {
        let account = self.account.clone();
        let orphan = |order: &Order| !order.ticket.opens() && account.position(order.ticket.book).is_none();
        events.extend(self.cancel(orphan, "position_closed"));
    }

    fn work(&mut self, mut working: Working, today: usize, day: &Day, events: &mut Vec<Event>) {
        let order = working.order;
        let reached = day.bar(order.ticket.book.symbol).and_then(|bar| {
            let touch = touch(order.ticket.kind, order.ticket.side, bar)?;
            (available(&touch, bar) > 0).then_some((touch, bar))
        });
        if let Some((touch, bar)) = reached {
            self.execute(&order, &touch, today, bar, events);
            return;
        }
        if working.days_left != UNTIL_CANCELLED {
            working.days_left = working.days_left.saturating_sub(1);
        }
        if working.days_left == 0 {
            let status = OrderStatus::Expired;
            events.push(Event::Final { order, filled: 0, status, reason: "price_not_reached" });
        } else {
            self.working.push(working);
        }
    }

    fn execute(&mut self, order: &Order, touch: &Touch, today: usize, bar: &Bar, events: &mut Vec<Event>) {
        let Ticket { book, side, kind, purpose, .. } = order.ticket;
        let wanted = match purpose {
            Purpose::Open(_) => order.ticket.quantity,
            // A position that was closed in part leaves its protective orders too large.
            Purpose::Close => {
                let Some(position) = self.account.position(book) else {
                    self.submit(*order);
                    return;
                };
                order.ticket.quantity.min(position.quantity)
            }
        };
        let quantity = wanted.min(available(touch, bar));
        let price = fill_price(kind, side, touch, quantity, bar);
        if order.ticket.opens() && !affordable(self.account.buying_power(), quantity, price) {
            let status = OrderStatus::Rejected;
            events.push(Event::Final {
                order: *order,
                filled: 0,
                status,
                reason: "insufficient_buying_power",
            });
            return;
        }
        let fill = Fill {
            order: *order,
            quantity,
            price,
            slippage_bps: slippage_bps(kind, side, price, bar),
            latency_ms: self.latency.next_ms(kind, bar),
        };
        events.push(Event::Fill(fill));
        let (status, reason) = if quantity == wanted {
            (OrderStatus::Filled, "filled")
        } else {
            (OrderStatus::PartiallyFilled, "participation_limit")
        };
        events.push(Event::Final { order: *order, filled: quantity, status, reason });
        match purpose {
            Purpose::Open(bracket) => {
                self.account.open(book, side, quantity, price, today);
                self.protect(&fill, &bracket, touch.moment, today, bar, events);
            }
            Purpose::Close => {
                if let Some(trade) = self.account.close(book, quantity, price) {
                    events.push(Event::TradeClosed { order: *order, pnl_dollars: trade.pnl_dollars });
                    if trade.opened == today {
                        self.day_trades.record(today);
                        events.push(Event::DayTrade { order: *order, used: self.day_trades.used(today) });
                    }
                }
            }
        }
    }

    /// Puts stop and target of a new position to work, and executes one that the same day still reaches, unless that
    /// would be a day trade too many: then both begin the next day.
    fn protect(
        &mut self,
        entry: &Fill,
        bracket: &Bracket,
        moment: Moment,
        today: usize,
        bar: &Bar,
        events: &mut Vec<Event>,
    ) {
        let Ticket { book, side: entry_side, .. } = entry.order.ticket;
        let side = opposite(entry_side);
        let away = |distance: f64| entry.price + sign(entry_side) * distance;
        let [stop, target] =
            [Kind::Stop(away(-bracket.stop_distance)), Kind::Limit(away(bracket.target_distance))].map(
                |kind| {
                    let order = self.identify(Ticket {
                        book,
                        side,
                        kind,
                        purpose: Purpose::Close,
                        quantity: entry.quantity,
                        days: UNTIL_CANCELLED,
                        decided_at: entry.price,
                    });
                    events.push(Event::Submitted(order));
                    order
                },
            );
        let may_leave = self.day_trades.used(today) < DayTrades::LIMIT;
        let reached = same_day_exit(entry_side, entry.price, bracket, moment, bar).filter(|_| may_leave);
        for (order, exit) in [(stop, SameDayExit::Stop), (target, SameDayExit::Target)] {
            let touch = Touch::later(order.ticket.kind, side, bar);
            if reached == Some(exit) && available(&touch, bar) > 0 {
                self.execute(&order, &touch, today, bar, events);
            } else {
                self.submit(order);
            }
        }
    }
}

/// The order in which exits are looked at: what the open decides, then stops, then targets.
fn precedence(order: &Order, day: &Day) -> u8 {
    let touch =
        day.bar(order.ticket.book.symbol).and_then(|bar| touch(order.ticket.kind, order.ticket.side, bar));
    match (touch.map(|touch| touch.moment), order.ticket.kind) {
        (Some(Moment::Open), _) => 0,
        (_, Kind::Stop(_)) => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::Book;
    use crate::telemetry::Side;

    const BOOK: Book = Book { strategy: "s", symbol: "AAPL" };

    fn day(open: f64, high: f64, low: f64, close: f64) -> Day {
        let bar = Bar { open, high, low, close, volume: 1_000_000.0 };
        Day { date: jiff::civil::date(2008, 1, 2), bars: vec![("AAPL", bar)] }
    }

    fn entry(kind: Kind, quantity: u32, days: u32) -> Ticket {
        Ticket {
            book: BOOK,
            side: Side::Buy,
            kind,
            purpose: Purpose::Open(Bracket { stop_distance: 5.0, target_distance: 5.0 }),
            quantity,
            days,
            decided_at: 100.0,
        }
    }

    fn with(cash: f64, ticket: Ticket) -> Broker {
        let mut broker = Broker::new(cash, 1);
        let order = broker.identify(ticket);
        broker.submit(order);
        broker
    }

    fn finals(events: &[Event]) -> Vec<(String, OrderStatus, &'static str)> {
        let last = |event: &Event| match event {
            Event::Final { order, status, reason, .. } => Some((order.id.to_string(), *status, *reason)),
            _ => None,
        };
        events.iter().filter_map(last).collect()
    }

    #[test]
    fn a_limit_that_is_not_reached_expires() {
        let mut broker = with(10_000.0, entry(Kind::Limit(95.0), 10, 2));
        assert!(broker.trade_day(0, &day(100.0, 101.0, 99.0, 100.0)).is_empty());
        let events = broker.trade_day(1, &day(100.0, 101.0, 99.0, 100.0));
        assert_eq!(finals(&events), [("ord-000001".into(), OrderStatus::Expired, "price_not_reached")]);
    }

    #[test]
    fn too_little_money_is_a_rejection() {
        let mut broker = with(500.0, entry(Kind::Market, 10, 1));
        let events = broker.trade_day(0, &day(100.0, 101.0, 99.0, 100.0));
        assert_eq!(
            finals(&events),
            [("ord-000001".into(), OrderStatus::Rejected, "insufficient_buying_power")]
        );
        assert_eq!(broker.account().equity(), 500.0);
    }

    #[test]
    fn a_large_order_is_filled_in_part_and_protected_for_what_it_got() {
        let mut broker = with(100_000.0, entry(Kind::Market, 250, 1));
        let events = broker.trade_day(0, &day(100.0, 101.0, 99.0, 100.0));
        assert_eq!(
            finals(&events),
            [("ord-000001".into(), OrderStatus::PartiallyFilled, "participation_limit")]
        );
        let protective: Vec<u32> =
            broker.working.iter().map(|working| working.order.ticket.quantity).collect();
        assert_eq!(protective, [100, 100]);
    }

    #[test]
    fn a_stop_hit_on_the_day_of_entry_is_a_day_trade_and_cancels_the_target() {
        let mut broker = with(100_000.0, entry(Kind::Market, 10, 1));
        let events = broker.trade_day(0, &day(100.0, 101.0, 90.0, 100.0));
        assert_eq!(
            finals(&events),
            [
                ("ord-000001".into(), OrderStatus::Filled, "filled"),
                ("ord-000002".into(), OrderStatus::Filled, "filled"),
                ("ord-000003".into(), OrderStatus::Cancelled, "position_closed"),
            ]
        );
        assert_eq!(broker.day_trades_used(0), 1);
        assert!(
            events
                .iter()
                .any(|e| matches!(e, Event::TradeClosed { pnl_dollars, .. } if *pnl_dollars < -50.0))
        );
    }

    #[test]
    fn a_fourth_day_trade_waits_for_the_next_day() {
        let mut broker = with(100_000.0, entry(Kind::Market, 10, 1));
        for _ in 0..DayTrades::LIMIT {
            broker.day_trades.record(0);
        }
        broker.trade_day(0, &day(100.0, 101.0, 90.0, 100.0));
        assert_eq!((broker.day_trades_used(0), broker.account().open_positions()), (3, 1));
        let events = broker.trade_day(1, &day(100.0, 101.0, 90.0, 100.0));
        assert_eq!((broker.day_trades_used(1), broker.account().open_positions()), (3, 0));
        assert!(events.iter().any(|e| matches!(e, Event::TradeClosed { .. })));
    }

    #[test]
    fn a_target_at_the_open_comes_before_a_stop_later_that_day() {
        let mut broker = with(100_000.0, entry(Kind::Market, 10, 1));
        broker.trade_day(0, &day(100.0, 101.0, 99.0, 100.0));
        let events = broker.trade_day(1, &day(107.0, 108.0, 80.0, 90.0));
        assert!(
            events.iter().any(|e| matches!(e, Event::TradeClosed { pnl_dollars, .. } if *pnl_dollars > 60.0))
        );
    }
}
