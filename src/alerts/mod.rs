//! Alerts: rules on the metrics themselves, one incident per condition, delivery that survives outages.
//!
//! A service meets [`Alerts`], [`direct`], [`event`] and [`silence`]; [`rule`] and [`export`] are what files of rules are
//! read and written with. The machinery behind them is hidden: the tool and the tests use it, nothing else should.

pub mod channels;
#[doc(hidden)]
pub mod delivery;
pub mod direct;
pub(crate) mod engine;
#[doc(hidden)]
pub mod evaluation;
pub mod event;
pub mod export;
#[doc(hidden)]
pub mod incident;
#[doc(hidden)]
pub mod message;
#[doc(hidden)]
pub mod outbox;
pub mod rule;
pub mod silence;

pub use engine::{Alerts, IncidentView, test_channel};
