//! trading-telemetry
pub mod audit;
pub mod clock;
pub mod metrics;
pub mod orders;
