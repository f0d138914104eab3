//! A service as `init_telemetry` makes it, and what its callers do.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by benches, which fail where they stand")]

use std::time::Duration;

use trading_telemetry::{Telemetry, TelemetryBuilder};

use crate::side::free_port;

/// Longer than anything may take here.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The default settings, but that the log loses no line and nobody else's port is taken. The folder is empty.
pub(crate) fn builder() -> TelemetryBuilder {
    Telemetry::builder()
        .service_name("execution")
        .set("monitoring.prometheus_port", free_port())
        .set("logging.format", "json")
        .set("logging.when_full", "block")
}

/// The line that spec and peers write.
pub(crate) fn log_line() {
    tracing::info!(quantity = 100, price = 150.25, "order_submitted");
}

/// An order span with a step inside.
pub(crate) fn order_span(telemetry: &Telemetry) {
    let order =
        telemetry.order("abc123").symbol("AAPL").strategy("SwingMomentum").span("submit_order").entered();
    tracing::info_span!("check_risk").in_scope(|| {});
    drop(order);
}

/// Waits until all that was recorded is on disk and exported.
pub(crate) fn settle(telemetry: &Telemetry) {
    assert!(telemetry.flush(PATIENCE), "everything is written and exported");
}
