//! The tasks on the export thread: one for each signal, each waiting for its own collector alone.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::Signal;
use super::SignalStats;
use super::config::Collect;
use super::data_points;
use super::outage::Outage;
use super::queue::Batches;
use super::stats::OtlpStats;
use super::transport::{Failure, MetricSink};

/// What the handle asks of a task; the answer says that all that was there has been exported or lost.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) done: Sender<()>,
    /// Whether it is the last: the collector's wish for a pause is not heard any more.
    pub(super) last: bool,
}

/// Something that batches are given to.
pub(super) trait Sink<T> {
    fn export(&self, batch: Vec<T>) -> impl Future<Output = Result<(), Failure>>;
}

/// How one signal's exports go: bounded in time, counted, told about.
pub(super) struct Attempts {
    pub(super) timeout: Duration,
    pub(super) outage: Outage,
    /// When the collector wants to be asked again.
    pub(super) not_before: Option<Instant>,
}

impl Attempts {
    async fn make(
        &mut self,
        items: u64,
        stats: &SignalStats,
        export: impl Future<Output = Result<(), Failure>>,
    ) {
        let result = timeout(self.timeout, export).await;
        match result.unwrap_or_else(|_| Err(Failure::new("no answer in time"))) {
            Ok(()) => {
                let rejected = stats.export(items);
                self.outage.delivered(rejected, stats);
            }
            Err(failure) => {
                stats.lose(items);
                self.outage.failed(&failure.reason, stats);
                self.not_before = failure.retry_after.map(|pause| Instant::now() + pause);
            }
        }
    }

    async fn pause(&mut self) {
        if let Some(until) = self.not_before {
            sleep_until(until).await;
            self.not_before = None;
        }
    }
}

/// Exports what the queue holds, in full batches or when its time has come, until nobody can ask for more.
pub(super) async fn export_batches<T, S: Sink<T>>(
    mut batches: Batches<T>,
    sink: S,
    delay: Duration,
    mut attempts: Attempts,
    mut asked: UnboundedReceiver<Flush>,
) {
    let mut due = ticks(delay);
    loop {
        let mut flush = None;
        tokio::select! {
            biased;
            ask = asked.recv() => match ask {
                Some(ask) => flush = Some(ask),
                None => return,
            },
            () = attempts.pause(), if attempts.not_before.is_some() => continue,
            _ = due.tick(), if attempts.not_before.is_none() => {}
            () = batches.full_batch(), if attempts.not_before.is_none() => {}
        }
        attempts.outage.notice_let_go(batches.stats());
        // What comes while this goes on has its own turn.
        let mut left = batches.waiting();
        while left > 0 {
            let batch = batches.next();
            if batch.is_empty() {
                break;
            }
            left = left.saturating_sub(batch.len());
            let items = batch.len() as u64;
            attempts.make(items, batches.stats(), sink.export(batch)).await;
            let last = flush.as_ref().is_some_and(|flush| flush.last);
            if last {
                attempts.not_before = None;
            } else if attempts.not_before.is_some() && flush.is_none() {
                break;
            }
        }
        if let Some(flush) = flush {
            // Who asked may have given up; that is told by whoever waits.
            _ = flush.done.send(());
        }
    }
}

/// Collects and exports metrics every interval, until nobody can ask for more.
pub(super) async fn export_metrics(
    collect: Collect,
    sink: MetricSink,
    every: Duration,
    mut attempts: Attempts,
    stats: Arc<OtlpStats>,
    mut asked: UnboundedReceiver<Flush>,
) {
    let stats = stats.of(Signal::Metrics);
    let mut due = ticks(every);
    loop {
        let flush = tokio::select! {
            biased;
            ask = asked.recv() => match ask {
                Some(ask) => Some(ask),
                None => return,
            },
            _ = due.tick() => None,
        };
        let collecting = Arc::clone(&collect);
        let collected = tokio::task::spawn_blocking(move || collecting()).await;
        for metrics in collected.unwrap_or_default() {
            let items = data_points::count(&metrics);
            if items > 0 {
                stats.accept(items);
                attempts.make(items, stats, sink.export(&metrics)).await;
            }
        }
        if let Some(flush) = flush {
            _ = flush.done.send(());
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
