//! Telling of a collector that takes nothing: one line when it begins, one when it is over.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use super::{Signal, SignalStats};

/// The subscriber that our lines go to: the one of the thread that set us up if it had its own, else everybody's.
#[derive(Clone, Debug)]
pub(super) struct Voice(Option<Dispatch>);

impl Voice {
    pub(super) fn here() -> Self {
        tracing::dispatcher::get_default(|current| {
            Self((!current.is::<NoSubscriber>()).then(|| current.clone()))
        })
    }

    pub(super) fn tell(&self, line: impl FnOnce()) {
        match &self.0 {
            Some(dispatch) => tracing::dispatcher::with_default(dispatch, line),
            None => line(),
        }
    }
}

/// What one signal's exporter knows about its collector.
#[derive(Debug)]
pub(super) struct Outage {
    signal: Signal,
    endpoint: String,
    voice: Voice,
    since: Option<Instant>,
    lost_before: u64,
    dropped_before: u64,
}

impl Outage {
    pub(super) fn new(signal: Signal, endpoint: String, voice: Voice) -> Self {
        Self { signal, endpoint, voice, since: None, lost_before: 0, dropped_before: 0 }
    }

    /// After a batch was delivered, of which the collector rejected so many.
    pub(super) fn delivered(&mut self, rejected: u64, stats: &SignalStats) {
        let dropped = stats.dropped() > self.dropped_before;
        self.dropped_before = stats.dropped();
        if rejected > 0 {
            self.begin("the collector rejected some of it", stats);
        } else if dropped {
            self.begin("the collector is slower than this process; the queue was full", stats);
        } else if let Some(since) = self.since.take() {
            let lost = stats.lost() - self.lost_before;
            let seconds = since.elapsed().max(Duration::ZERO).as_secs();
            self.voice.tell(|| {
                tracing::info!(
                    target: "trading_telemetry",
                    signal = self.signal.as_str(),
                    endpoint = self.endpoint,
                    seconds,
                    lost,
                    "otlp_export_recovered"
                );
            });
            self.lost_before = stats.lost();
        }
    }

    /// After a batch was lost.
    pub(super) fn failed(&mut self, reason: &str, stats: &SignalStats) {
        self.dropped_before = stats.dropped();
        self.begin(reason, stats);
    }

    fn begin(&mut self, reason: &str, stats: &SignalStats) {
        if self.since.is_some() {
            return;
        }
        self.since = Some(Instant::now());
        let lost = stats.lost() - self.lost_before;
        self.voice.tell(|| {
            tracing::warn!(
                target: "trading_telemetry",
                signal = self.signal.as_str(),
                endpoint = self.endpoint,
                reason,
                lost,
                "otlp_export_failing"
            );
        });
    }
}
