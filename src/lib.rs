//! trading-telemetry
pub mod audit;
pub mod clock;
#[allow(dead_code, unused_imports, reason = "init plugs it in")]
mod exposition;
pub mod metrics;
pub mod orders;
#[allow(dead_code, unused_imports, reason = "init plugs it in")]
mod server;

pub use exposition::Families;
pub use server::TelemetryService;
