//! The connections that are open. Their number is bounded: where one more comes, the one that has waited longest goes,
//! so that clients that hang cannot keep a scrape out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::lock::lock;

/// The open connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    origin: Instant,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Slot>>>,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    origin: Instant,
    /// When it began to wait for a request, or for its client to read the answer; milliseconds.
    since: AtomicU64,
    /// Whether its request is being answered, so that it is the server that it waits for.
    serving: AtomicBool,
    /// Whether the server stops, so that a client that says no more is not waited for.
    leaving: AtomicBool,
    abort: OnceLock<AbortHandle>,
}

impl Slot {
    /// A request begins, or an answer has been taken: the client's time starts again.
    pub(super) fn begin_phase(&self) {
        self.since.store(milliseconds(self.origin), Ordering::Relaxed);
    }

    pub(super) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
        self.begin_phase();
    }

    pub(super) fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Tells how to end this connection.
    pub(super) fn set_abort(&self, handle: AbortHandle) {
        let _ = self.abort.set(handle); // set once, right after the task is spawned
    }
}

/// Gives the place back when the connection ends, however it does.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    pub(super) slot: Arc<Slot>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.slot.id);
    }
}

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, origin: Instant::now(), next: AtomicU64::new(0), open: Mutex::default() })
    }

    /// A place for a new connection; at the expense of another, if need be.
    pub(super) fn admit(self: &Arc<Self>) -> Place {
        let slot = Arc::new(Slot {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            origin: self.origin,
            since: AtomicU64::new(milliseconds(self.origin)),
            serving: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            abort: OnceLock::new(),
        });
        let mut open = self.lock();
        if open.len() >= self.most {
            // First those that wait for their client; a slow one has been in its phase for seconds, a scrape for
            // milliseconds.
            let oldest = open
                .values()
                .min_by_key(|slot| {
                    (slot.serving.load(Ordering::Relaxed), slot.since.load(Ordering::Relaxed), slot.id)
                })
                .map(Arc::clone);
            if let Some(oldest) = oldest {
                open.remove(&oldest.id);
                if let Some(handle) = oldest.abort.get() {
                    handle.abort();
                }
            }
        }
        open.insert(slot.id, Arc::clone(&slot));
        Place { connections: Arc::clone(self), slot }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether some wait for an answer, or have begun within `grace` to wait for their client.
    pub(super) fn are_owed(&self, grace: Duration) -> bool {
        let before =
            milliseconds(self.origin).saturating_sub(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        self.lock()
            .values()
            .any(|slot| slot.serving.load(Ordering::Relaxed) || slot.since.load(Ordering::Relaxed) > before)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Slot>>> {
        lock(&self.open)
    }
}

fn milliseconds(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX)
}
