//! The bounded queue between those who record and the one who exports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::Notify;

use super::config::BatchConfig;
use super::stats::OtlpStats;
use super::{Signal, SignalStats};

/// Most that one request should hold, about: collectors refuse more than 4 MiB.
const BATCH_BYTES: usize = 2 << 20;

/// The end that takes items. Never blocks: what finds no room is lost, and counted.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: SyncSender<(T, usize)>,
    shared: Arc<Shared>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared {
    signal: Signal,
    stats: Arc<OtlpStats>,
    items: AtomicUsize,
    bytes: AtomicUsize,
    batch_items: usize,
    queue_bytes: usize,
    full_batch: Notify,
    closed: AtomicBool,
}

/// A queue and the end that batches come out of.
pub(super) fn queue<T>(
    signal: Signal,
    config: &BatchConfig,
    stats: &Arc<OtlpStats>,
) -> (Queue<T>, Batches<T>) {
    let capacity = config.queue_items.max(1);
    let (sender, receiver) = sync_channel(capacity);
    let shared = Arc::new(Shared {
        signal,
        stats: Arc::clone(stats),
        items: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        batch_items: config.batch_items.clamp(1, capacity),
        queue_bytes: config.queue_bytes,
        full_batch: Notify::new(),
        closed: AtomicBool::new(false),
    });
    (Queue { sender, shared: Arc::clone(&shared) }, Batches { receiver, shared })
}

impl<T> Queue<T> {
    /// Takes an item of about so many bytes. Costs no system call but at each full batch.
    pub(super) fn push(&self, item: T, bytes: usize) {
        let shared = &*self.shared;
        let stats = shared.stats.of(shared.signal);
        stats.accept(1);
        // Counted before it is sent: the other end subtracts as soon as it has it.
        let items = shared.items.fetch_add(1, Relaxed) + 1;
        let waiting = shared.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let room = waiting <= shared.queue_bytes && !shared.closed.load(Relaxed);
        if !room || self.sender.try_send((item, bytes)).is_err() {
            shared.items.fetch_sub(1, Relaxed);
            shared.bytes.fetch_sub(bytes, Relaxed);
            stats.drop_one();
        } else if items == shared.batch_items {
            shared.full_batch.notify_one();
        }
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Relaxed);
    }
}

/// The end that batches come out of.
#[derive(Debug)]
pub(super) struct Batches<T> {
    receiver: Receiver<(T, usize)>,
    shared: Arc<Shared>,
}

impl<T> Batches<T> {
    /// The oldest items, as many as one request should hold.
    pub(super) fn next(&mut self) -> Vec<T> {
        let mut batch = Vec::new();
        let mut total = 0;
        while batch.len() < self.shared.batch_items && total < BATCH_BYTES {
            let Ok((item, bytes)) = self.receiver.try_recv() else { break };
            batch.push(item);
            total += bytes;
        }
        self.shared.bytes.fetch_sub(total, Relaxed);
        self.shared.items.fetch_sub(batch.len(), Relaxed);
        batch
    }

    /// Items that wait, about.
    pub(super) fn waiting(&self) -> usize {
        self.shared.items.load(Relaxed)
    }

    pub(super) async fn full_batch(&self) {
        self.shared.full_batch.notified().await;
    }

    pub(super) fn stats(&self) -> &SignalStats {
        self.shared.stats.of(self.shared.signal)
    }
}
