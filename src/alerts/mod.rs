//! Alerts: rules on the metrics themselves, one incident per condition, delivery that survives outages.

pub mod direct;
pub mod evaluation;
pub mod event;
pub mod incident;
pub mod rule;
pub mod silence;
pub mod channels;
pub mod delivery;
pub mod event;
pub mod message;
pub mod outbox;
