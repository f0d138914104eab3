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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn each_growth_is_told_critically_and_with_one_text() {
        let lost = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&lost);
        let mut watch = AuditLoss::new(Box::new(move || read.load(Ordering::Relaxed)));
        assert_eq!(watch.alert(), None);
        lost.store(3, Ordering::Relaxed);
        let first =
            watch.alert().map(|alert| (alert.severity, alert.message, alert.metadata[0].1.to_string()));
        assert_eq!(watch.alert(), None, "told once");
        lost.store(5, Ordering::Relaxed);
        let second =
            watch.alert().map(|alert| (alert.severity, alert.message, alert.metadata[0].1.to_string()));
        let (Some(first), Some(second)) = (first, second) else { panic!("both are told") };
        assert_eq!((first.0, &first.1), (AlertSeverity::Critical, &second.1));
        assert_eq!((first.2.as_str(), second.2.as_str()), ("3", "5"));
    }
}
