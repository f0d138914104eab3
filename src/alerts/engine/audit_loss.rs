//! A hole in the audit trail: who keeps it has to know.

use super::run::AuditLost;
use crate::alerts::direct::DirectAlert;
use crate::alerts::event::AlertSeverity;

/// Watches how many audit lines were lost.
pub(super) struct AuditLoss {
    lost: AuditLost,
    told: u64,
}

impl AuditLoss {
    pub(super) fn new(lost: AuditLost) -> Self {
        Self { lost, told: 0 }
    }

    /// An alert where the number has grown. Its text stays the same while it grows on, so that it is folded as every other
    /// direct alert is; the number is in the metadata.
    pub(super) fn alert(&mut self) -> Option<DirectAlert> {
        let lost = (self.lost)();
        if lost <= self.told {
            return None;
        }
        self.told = lost;
        let message = "Lines of the audit trail could not be written: check the log's disk and queue";
        let mut alert = DirectAlert::new(AlertSeverity::Critical, "Audit Lines Lost", message);
        let lost = i64::try_from(lost).unwrap_or(i64::MAX);
        alert.metadata = vec![("lines_lost_since_start".to_owned(), lost.into())];
        Some(alert)
    }
}
