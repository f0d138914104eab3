//! Orders: what a strategy asks for, and what the broker keeps of it.

use std::fmt;

use crate::bars::Symbol;
use crate::telemetry::{OrderStatus, OrderType, Side};

/// How an order is to be executed; prices in dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// At the open.
    Market,
    /// At this price or better.
    Limit(f64),
    /// At the market once this price is touched.
    Stop(f64),
}

impl Kind {
    pub(crate) fn order_type(self) -> OrderType {
        match self {
            Self::Market => OrderType::Market,
            Self::Limit(_) => OrderType::Limit,
            Self::Stop(_) => OrderType::Stop,
        }
    }
}

/// The exits that a position gets the moment it is opened, as distances from its entry price in dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bracket {
    pub(crate) stop_distance: f64,
    pub(crate) target_distance: f64,
}

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Purpose {
    Open(Bracket),
    Close,
}

/// Which book a position or an order belongs to: each strategy keeps its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Book {
    pub(crate) strategy: &'static str,
    pub(crate) symbol: Symbol,
}

/// An order as a strategy writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ticket {
    pub(crate) book: Book,
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) purpose: Purpose,
    /// Shares.
    pub(crate) quantity: u32,
    /// Trading days for which it works; protective orders outlive any replay.
    pub(crate) days: u32,
    /// The close at which it was decided, in dollars.
    pub(crate) decided_at: f64,
}

impl Ticket {
    pub(crate) fn opens(&self) -> bool {
        matches!(self.purpose, Purpose::Open(_))
    }

    /// Dollars at the price of the decision.
    pub(crate) fn notional(&self) -> f64 {
        f64::from(self.quantity) * self.decided_at
    }
}

/// An order's id; it stays unique when the replay starts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderId(pub(crate) u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ord-{:06}", self.0)
    }
}

/// A ticket with an identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) ticket: Ticket,
}

/// What happened to an order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A protective order that the broker itself put to work for a new position.
    Submitted(Order),
    Fill(Fill),
    /// The one final status of an order.
    Final {
        order: Order,
        /// Shares.
        filled: u32,
        status: OrderStatus,
        reason: &'static str,
    },
    /// A position was closed in full.
    TradeClosed {
        order: Order,
        pnl_dollars: f64,
    },
    /// A position was opened and closed on one day.
    DayTrade {
        order: Order,
        used: u32,
    },
}

/// An execution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fill {
    pub(crate) order: Order,
    pub(crate) quantity: u32,
    pub(crate) price: f64,
    /// Against the price that was asked for; positive is a cost.
    pub(crate) slippage_bps: f64,
    /// Simulated.
    pub(crate) latency_ms: f64,
}

/// +1 for a purchase, -1 for a sale.
pub(crate) fn sign(side: Side) -> f64 {
    match side {
        Side::Buy => 1.0,
        Side::Sell => -1.0,
    }
}

pub(crate) fn opposite(side: Side) -> Side {
    match side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
    }
}
