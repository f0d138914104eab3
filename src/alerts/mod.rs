//! Alerts: rules on the metrics themselves, one incident per condition, delivery that survives outages.

pub mod channels;
pub mod delivery;
pub mod direct;
pub(crate) mod engine;
pub mod evaluation;
pub mod event;
pub mod export;
pub mod incident;
pub mod message;
pub mod outbox;
pub mod rule;
pub mod silence;

pub use engine::{Alerts, IncidentView, test_channel};
