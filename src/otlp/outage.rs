//! Telling of a collector that takes nothing: one line when it begins, one when it is over.

use std::time::Duration;

use tokio::time::Instant;

use super::{Signal, SignalStats};

/// How long a collector that is only too slow, or picks and chooses, must have taken everything before that is over:
/// it would be told at each burst otherwise.
const QUIET: Duration = Duration::from_mins(1);

/// What one signal's exporter knows about its collector.
#[derive(Debug)]
pub(super) struct Outage {
    signal: Signal,
    endpoint: String,
    under_way: Option<UnderWay>,
    lost_before: u64,
    dropped_before: u64,
    told_let_go: bool,
}

#[derive(Debug)]
struct UnderWay {
    since: Instant,
    last_loss: Instant,
    /// Whether the last batch failed as a whole: the next that does not ends it.
    failed: bool,
}

impl Outage {
    pub(super) fn new(signal: Signal, endpoint: String) -> Self {
        Self { signal, endpoint, under_way: None, lost_before: 0, dropped_before: 0, told_let_go: false }
    }

    /// After a batch was delivered, of which the collector rejected so many.
    pub(super) fn delivered(&mut self, rejected: u64, stats: &SignalStats) {
        let dropped = stats.dropped() > self.dropped_before;
        self.dropped_before = stats.dropped();
        let failed = self.under_way.as_ref().is_some_and(|under_way| under_way.failed);
        if rejected > 0 {
            self.lost("the collector rejected some of it", false, stats);
        } else if dropped && !failed {
            self.lost("the collector is slower than this process; the queue was full", false, stats);
        } else if let Some(UnderWay { since, .. }) =
            self.under_way.take_if(|under_way| under_way.failed || under_way.last_loss.elapsed() >= QUIET)
        {
            let lost = stats.lost() - self.lost_before;
            self.lost_before = stats.lost();
            tracing::info!(
                target: "trading_telemetry",
                signal = self.signal.as_str(),
                endpoint = self.endpoint,
                seconds = since.elapsed().as_secs(),
                lost,
                "otlp_export_recovered"
            );
        }
    }

    /// After a batch was lost.
    pub(super) fn failed(&mut self, reason: &str, stats: &SignalStats) {
        self.dropped_before = stats.dropped();
        self.lost(reason, true, stats);
    }

    /// Tells once that traces were too many to hold.
    pub(super) fn notice_let_go(&mut self, stats: &SignalStats) {
        if !self.told_let_go && stats.report().let_go > 0 {
            self.told_let_go = true;
            tracing::warn!(target: "trading_telemetry", "otlp_unsampled_spans_let_go");
        }
    }

    fn lost(&mut self, reason: &str, failed: bool, stats: &SignalStats) {
        let now = Instant::now();
        if let Some(under_way) = &mut self.under_way {
            under_way.last_loss = now;
            under_way.failed = failed;
            return;
        }
        self.under_way = Some(UnderWay { since: now, last_loss: now, failed });
        tracing::warn!(
            target: "trading_telemetry",
            signal = self.signal.as_str(),
            endpoint = self.endpoint,
            reason,
            lost = stats.lost() - self.lost_before,
            "otlp_export_failing"
        );
    }
}
