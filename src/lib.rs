#![doc = include_str!("../README.md")]

pub mod alerts;
pub mod audit;
mod background;
pub mod clock;
mod exposition;
pub mod health;
mod hint;
mod init;
mod lock;
pub mod logs;
pub mod metrics;
pub mod orders;
mod otlp;
mod panics;
mod process_signals;
mod retry_after;
mod server;
pub mod settings;
mod shutdown;
mod telemetry;
pub mod testing;
mod told;

pub use alerts::Alerts;
pub use alerts::direct::DirectAlert;
pub use alerts::event::{AlertSeverity, MetadataValue};
pub use audit::{AuditedOrder, Fill, OrderDetails};
pub use exposition::Families;
pub use health::{Health, HealthCheck};
pub use init::{InitError, TelemetryBuilder, init_telemetry, layer};
pub use metrics::labels::{OrderStatus, OrderType, RiskResult, Side};
pub use metrics::{Metrics, PortfolioSnapshot, Strategy};
pub use server::TelemetryService;
pub use shutdown::{ShutdownError, ShutdownReport, SignalReport};
pub use telemetry::Telemetry;

/// The version of OpenTelemetry that this crate records into: use this one, so that there is only one.
pub use opentelemetry;
