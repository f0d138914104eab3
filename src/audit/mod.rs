//! The audit trail: trading decisions as typed calls that record the metric and write the line together, so that a
//! decision cannot be counted and not logged.
//!
//! The lines have the target `audit`, which no filter removes.

mod order;

use crate::metrics::{Metrics, Strategy};

pub use order::{AuditedOrder, Fill, OrderDetails};

use crate::alerts::Alerts;
use crate::alerts::direct::DirectAlert;
use crate::alerts::event::{AlertSeverity, MetadataValue};
use crate::alerts::rule::KILL_SWITCH;
use crate::logs::AUDIT_TARGET;

/// Writes trading decisions.
///
/// A call costs its metric and one log line on the caller; it does no I/O and never waits for the disk. A change of the
/// kill switch, of a breaker or of the day trades wakes the alerts as well.
#[derive(Clone, Debug)]
pub struct Audit {
    metrics: Metrics,
    alerts: Alerts,
}

impl Audit {
    pub(crate) fn new(metrics: Metrics, alerts: Alerts) -> Self {
        Self { metrics, alerts }
    }

    /// An order whose decisions are about to be written.
    pub fn order<'a>(
        &'a self,
        strategy: &'a Strategy,
        order_id: &'a str,
        symbol: &'a str,
        details: OrderDetails,
    ) -> AuditedOrder<'a> {
        AuditedOrder::new(&self.metrics, strategy, order_id, symbol, details)
    }

    /// Records the day trades used in the rolling window of five days: `pdt_day_trade_recorded`.
    pub fn pdt_day_trade_recorded(&self, symbol: &str, day_trades_used: u32) {
        self.metrics.risk().pdt_trades_used(day_trades_used);
        tracing::info!(target: AUDIT_TARGET, symbol, day_trades_used, "pdt_day_trade_recorded");
    }

    /// Trips a circuit breaker: `circuit_breaker_tripped`.
    pub fn breaker_tripped(&self, breaker: &str, reason: &str) {
        self.metrics.risk().breaker(breaker).set(true);
        tracing::warn!(target: AUDIT_TARGET, breaker, reason, "circuit_breaker_tripped");
    }

    /// Arms a circuit breaker again: `circuit_breaker_reset`.
    pub fn breaker_reset(&self, breaker: &str, reason: &str) {
        self.metrics.risk().breaker(breaker).set(false);
        tracing::info!(target: AUDIT_TARGET, breaker, reason, "circuit_breaker_reset");
    }

    /// Turns the kill switch on: `kill_switch_activated`. The reason is the text of its alert, and the metadata are
    /// shown with it: one message, not one from the rule and one by hand.
    pub fn kill_switch_on<K: Into<String>>(
        &self,
        reason: &str,
        metadata: impl IntoIterator<Item = (K, MetadataValue)>,
    ) {
        let mut alert = DirectAlert::new(AlertSeverity::Critical, "Kill Switch Activated", reason);
        alert.rule = Some(KILL_SWITCH.to_owned());
        alert.metadata = metadata.into_iter().map(|(key, value)| (key.into(), value)).collect();
        let told: Vec<_> = alert.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        tracing::error!(
            target: AUDIT_TARGET,
            reason,
            metadata = (!told.is_empty()).then(|| told.join(", ")),
            "kill_switch_activated"
        );
        // The reason first: the change wakes the engine, which then has to know it.
        self.alerts.send(alert);
        self.metrics.risk().kill_switch(true);
    }

    /// Turns the kill switch off: `kill_switch_deactivated`.
    pub fn kill_switch_off(&self, reason: &str) {
        self.metrics.risk().kill_switch(false);
        tracing::warn!(target: AUDIT_TARGET, reason, "kill_switch_deactivated");
    }
}
