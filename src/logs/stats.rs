//! What became of the lines, as counts that the metrics read.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::lock::lock;

/// Why a line, or a part of one, is not in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue had no room for a line of its rank.
    QueueFull,
    /// The disk refused it for as long as it could be kept, or it came after the shutdown.
    WriteFailed,
    /// A value's own formatting failed or panicked: the line is there, with a mark in that value's place.
    EncodeFailed,
}

impl DropReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[Self::QueueFull, Self::WriteFailed, Self::EncodeFailed];

    /// The reason as the label of `trading_telemetry_log_dropped_total` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WriteFailed => "write_failed",
            Self::EncodeFailed => "encode_failed",
        }
    }
}

/// Counts since the start, and the present trouble if there is one. Reading a count is one atomic load.
#[derive(Debug, Default)]
pub struct LogStats {
    pub(super) accepted: AtomicU64,
    pub(super) written: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    audit_lost: AtomicU64,
    pub(super) rotations: AtomicU64,
    pub(super) torn: AtomicU64,
    trouble: Mutex<Option<String>>,
    path: Mutex<PathBuf>,
}

impl LogStats {
    /// Lines taken into a queue.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Lines whose `write(2)` has returned.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Lines lost for `reason`, audit lines apart.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Relaxed)
    }

    /// Audit lines lost, for whatever reason.
    pub fn audit_lost(&self) -> u64 {
        self.audit_lost.load(Relaxed)
    }

    /// Files that reached their size and were set aside.
    pub fn rotations(&self) -> u64 {
        self.rotations.load(Relaxed)
    }

    /// Half-written lines that a killed process had left, and that were set aside.
    pub fn torn_lines(&self) -> u64 {
        self.torn.load(Relaxed)
    }

    /// What keeps lines from the disk now; `None` while all is well.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// The file that lines go to now: another than the configured one while a second process holds that.
    pub fn path(&self) -> PathBuf {
        lock(&self.path).clone()
    }

    pub(super) fn lose(&self, reason: DropReason, lines: u64, audit_lines: u64) {
        self.dropped[reason as usize].fetch_add(lines, Relaxed);
        self.audit_lost.fetch_add(audit_lines, Relaxed);
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }

    pub(super) fn set_path(&self, path: PathBuf) {
        *lock(&self.path) = path;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog::{Values, find};

    #[test]
    fn the_reasons_are_those_of_the_catalogue() {
        let label = find("trading_telemetry_log_dropped_total").unwrap().labels[0];
        let names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(label.values, Values::Closed(&["queue_full", "write_failed", "encode_failed"]));
        assert_eq!(names, ["queue_full", "write_failed", "encode_failed"]);
        assert!(DropReason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }
}
