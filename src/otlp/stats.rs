//! What became of everything that was to be exported.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::Signal;

/// The counters of all signals.
#[derive(Debug, Default)]
pub(crate) struct OtlpStats {
    traces: SignalStats,
    logs: SignalStats,
    metrics: SignalStats,
}

impl OtlpStats {
    pub(crate) fn of(&self, signal: Signal) -> &SignalStats {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }

    pub(crate) fn report(&self) -> OtlpReport {
        OtlpReport(Signal::ALL.map(|signal| (signal, self.of(signal).report())))
    }
}

/// One signal's counters. Everything accepted is exported or lost in the end, and waiting until then.
#[derive(Debug, Default)]
pub(crate) struct SignalStats {
    accepted: AtomicU64,
    exported: AtomicU64,
    lost: AtomicU64,
    /// Lost because they found no room.
    dropped: AtomicU64,
    /// What the collector said of the export under way that it did not take.
    rejected: AtomicU64,
    /// Unsampled spans that were let go before their trace had ended.
    let_go: AtomicU64,
    closed: AtomicBool,
}

impl SignalStats {
    pub(super) fn accept(&self, items: u64) {
        self.accepted.fetch_add(items, Relaxed);
    }

    pub(super) fn drop_one(&self) {
        self.dropped.fetch_add(1, Relaxed);
        self.lose(1);
    }

    pub(super) fn lose(&self, items: u64) {
        if !self.closed.load(Relaxed) {
            self.lost.fetch_add(items, Relaxed);
        }
    }

    /// Counts a batch that the collector answered, less what it rejected. Returns how many it rejected.
    pub(super) fn export(&self, items: u64) -> u64 {
        let rejected = self.rejected.swap(0, Relaxed).min(items);
        if !self.closed.load(Relaxed) {
            self.exported.fetch_add(items - rejected, Relaxed);
        }
        self.lose(rejected);
        rejected
    }

    pub(super) fn reject(&self, items: u64) {
        self.rejected.fetch_add(items, Relaxed);
    }

    pub(super) fn let_go(&self, spans: u64) {
        self.let_go.fetch_add(spans, Relaxed);
    }

    /// Ends the count: what has not arrived is lost, whatever comes of it afterwards.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    pub(crate) fn report(&self) -> SignalReport {
        // Read in this order, a figure that moves meanwhile can only make more of them wait.
        let exported = self.exported.load(Relaxed);
        let lost = self.lost.load(Relaxed);
        let unfinished = self.accepted.load(Relaxed).saturating_sub(exported + lost);
        let let_go = self.let_go.load(Relaxed);
        if self.closed.load(Relaxed) {
            SignalReport { exported, lost: lost + unfinished, waiting: 0, let_go }
        } else {
            SignalReport { exported, lost, waiting: unfinished, let_go }
        }
    }
}

/// What became of each signal's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtlpReport([(Signal, SignalReport); 3]);

impl OtlpReport {
    /// One signal's figures; all zero if it is not exported.
    pub(crate) fn of(&self, signal: Signal) -> SignalReport {
        self.0
            .iter()
            .find(|(found, _)| *found == signal)
            .map_or_else(SignalReport::default, |(_, report)| *report)
    }
}

/// What became of one signal's items since the start: spans, log records, data points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalReport {
    /// Taken by the collector.
    pub(crate) exported: u64,
    /// Found no room, could not be delivered, or were rejected.
    pub(crate) lost: u64,
    /// Still in the process.
    pub(crate) waiting: u64,
    /// Unsampled spans that found no room to be held until their trace had ended, and were never to be exported
    /// unless it failed.
    pub(crate) let_go: u64,
}
