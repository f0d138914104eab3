//! Typed groups: one per part of the trading system, with a method per fact.

mod execution;
mod health;
mod ml;
mod orders;
mod portfolio;
mod process;
mod risk;

pub use execution::Execution;
pub(crate) use health::{Component, Components};
pub use ml::Ml;
pub use orders::Strategy;
pub(crate) use orders::StrategyMetrics;
pub use portfolio::{Portfolio, PortfolioSnapshot};
pub(crate) use process::observe_process;
pub use risk::{Breaker, Risk};
