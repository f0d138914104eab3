//! trading-telemetry
pub mod clock;
pub mod metrics;
pub mod orders;
