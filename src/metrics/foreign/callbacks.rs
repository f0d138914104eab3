//! A service's callbacks, run on a thread of ours.
//!
//! The SDK calls observable instruments' callbacks while it holds the lock of its pipeline. One that panics poisons it,
//! one that hangs holds it for good, and one that makes an instrument waits for itself. So the callbacks never reach
//! the SDK: they run before the collection and under a deadline, into a buffer that the SDK's own callback reads out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Callback};

use crate::lock::lock;
use crate::told::Told;

/// Whether a scrape can hold a value.
pub(super) type Admits<T> = Arc<dyn Fn(T) -> bool + Send + Sync>;

/// Name of the threads that run a service's callbacks; the panic hook knows them by it.
pub(crate) const CALLBACK_THREAD: &str = "telemetry-callbacks";
/// How long one batch of callbacks may take before the one that it stands at is left behind.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long all callbacks of a collection may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// Every callback of the service, and the thread that runs them.
#[derive(Default)]
pub(super) struct Callbacks {
    entries: Mutex<Vec<Arc<dyn Entry>>>,
    worker: Mutex<Option<SyncSender<Arc<Batch>>>>,
    failures: AtomicU64,
}

impl Callbacks {
    /// Keeps the callback, and returns the one that gives the SDK what it last reported and `admits` takes.
    pub(super) fn add<T: Copy + Send + Sync + 'static>(
        &self,
        name: &str,
        callback: Callback<T>,
        admits: Admits<T>,
    ) -> Callback<T> {
        let entry = Arc::new(CallbackEntry {
            name: name.to_owned(),
            callback,
            admits,
            reported: Mutex::default(),
            running: AtomicBool::new(false),
            told: Told::default(),
        });
        lock(&self.entries).push(Arc::clone(&entry) as Arc<dyn Entry>);
        Box::new(move |observer| {
            for (value, attributes) in &*lock(&entry.reported) {
                observer.observe(*value, attributes);
            }
        })
    }

    /// How many callbacks have panicked or hung.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Runs every callback that does not hang already, for [`DEADLINE`] at the most.
    pub(super) fn run(&self) {
        let mut worker = lock(&self.worker);
        let until = Instant::now() + DEADLINE;
        let mut due: Vec<_> =
            lock(&self.entries).iter().filter(|entry| !entry.is_running()).cloned().collect();
        while !due.is_empty() && Instant::now() < until {
            let (done, finished) = sync_channel(1);
            let batch = Arc::new(Batch { entries: due, abandoned: AtomicBool::new(false), done });
            let Ok(sender) = worker.take().map_or_else(spawn, Ok) else { return };
            if sender.send(Arc::clone(&batch)).is_err() {
                return;
            }
            match finished.recv_timeout(PATIENCE) {
                Ok(failures) => {
                    self.failures.fetch_add(failures, Ordering::Relaxed);
                    *worker = Some(sender);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    batch.abandoned.store(true, Ordering::Release);
                    for hung in batch.entries.iter().filter(|entry| entry.is_running()) {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                        hung.leave();
                    }
                    due = batch.entries.iter().filter(|entry| !entry.is_running()).cloned().collect();
                }
            }
        }
    }
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").field("failures", &self.failures).finish_non_exhaustive()
    }
}

struct Batch {
    entries: Vec<Arc<dyn Entry>>,
    /// Set once nobody waits for the batch any more.
    abandoned: AtomicBool,
    done: SyncSender<u64>,
}

fn spawn() -> std::io::Result<SyncSender<Arc<Batch>>> {
    let (sender, batches) = sync_channel::<Arc<Batch>>(1);
    std::thread::Builder::new().name(CALLBACK_THREAD.into()).spawn(move || {
        for batch in batches {
            let mut failures = 0;
            for entry in &batch.entries {
                if batch.abandoned.load(Ordering::Acquire) {
                    return;
                }
                failures += u64::from(!entry.run());
            }
            let _ = batch.done.send(failures);
        }
    })?;
    Ok(sender)
}

trait Entry: Send + Sync {
    /// Whether a run has begun and not come back.
    fn is_running(&self) -> bool;
    /// Runs the callback and says whether it returned.
    fn run(&self) -> bool;
    /// Gives up on the run under way.
    fn leave(&self);
}

struct CallbackEntry<T> {
    name: String,
    callback: Callback<T>,
    admits: Admits<T>,
    /// What the last run reported; empty after one that failed, so that nothing stale is shown.
    reported: Mutex<Vec<(T, Vec<KeyValue>)>>,
    running: AtomicBool,
    told: Told,
}

impl<T> CallbackEntry<T> {
    fn tell(&self, what: &str) {
        self.told.once(|| {
            tracing::error!(
                target: "trading_telemetry",
                instrument = self.name,
                reason = what,
                hint = "its series are missing from the scrape until the callback returns",
                "metric_callback_failed"
            );
        });
    }
}

impl<T: Copy + Send + Sync + 'static> Entry for CallbackEntry<T> {
    fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    fn run(&self) -> bool {
        self.running.store(true, Ordering::Release);
        let buffer = Buffer(Mutex::default());
        let returned =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.callback)(&buffer))).is_ok();
        let mut reported = if returned { std::mem::take(&mut *lock(&buffer.0)) } else { Vec::new() };
        reported.retain(|(value, _)| (self.admits)(*value));
        *lock(&self.reported) = reported;
        self.running.store(false, Ordering::Release);
        if !returned {
            self.tell("the callback panicked");
        }
        returned
    }

    fn leave(&self) {
        lock(&self.reported).clear();
        self.tell("the callback did not return");
    }
}

/// Collects what a callback observes.
struct Buffer<T>(Mutex<Vec<(T, Vec<KeyValue>)>>);

impl<T: Send + Sync> AsyncInstrument<T> for Buffer<T> {
    fn observe(&self, value: T, attributes: &[KeyValue]) {
        lock(&self.0).push((value, attributes.to_vec()));
    }
}
