//! What must survive the process: unsent messages, open incidents, pauses that a channel asked for, windows of duplicates,
//! alerts that wait for their incidents and silences, in one redb file that a thread of its own writes.
//!
//! Writing here costs a lock and a copy, never a wait: changes are gathered in a [`Batch`] and committed together, each
//! batch whole or not at all. [`Outbox::committed`] tells how far the disk is. When the disk refuses, everything goes on
//! from memory, [`Outbox::health`] says so, and all of it is written as soon as the disk takes it again.

mod claim;
mod contents;
mod store;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

pub use contents::{Contents, Table};

use crate::lock::lock;

/// A number that grows with every [`Batch`] that changes something.
pub type Ticket = u64;

/// Where the outbox keeps what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// On disk.
    Stored,
    /// In memory alone, for this reason: SIGKILL would lose it.
    InMemory(String),
}

/// What the start found on disk.
#[derive(Debug, Default)]
pub struct Opened {
    /// What earlier processes left.
    pub contents: Contents,
    /// The file in use; `None` in memory.
    pub file: Option<PathBuf>,
    /// Files that were damaged, under the names where they are kept now. What they held is not in [`Self::contents`].
    pub set_aside: Vec<PathBuf>,
    /// Files of processes that died, whose contents are in [`Self::contents`].
    pub taken_over: Vec<PathBuf>,
}

/// The store of everything that is not yet delivered. Cheap to clone; all clones are the same outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    owner: Arc<Owner>,
}

/// What all clones hold and the writer does not: when it is dropped, nobody can add anything.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the writer.
    changed: Condvar,
    committed: watch::Sender<Ticket>,
    health: watch::Sender<Health>,
    closed: watch::Sender<bool>,
    has_writer: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Everything, as it should be on disk.
    live: Contents,
    /// What differs from the disk, newest value each.
    dirty: contents::Changes,
    ticket: Ticket,
    closing: bool,
}

impl Outbox {
    /// Opens `file`, or one with the process id in its name where another process holds that one, and takes over what dead
    /// processes left under such names. Never fails: where the disk refuses, the outbox works from
    /// memory and [`Self::health`] says why. Reads and checks the whole file: milliseconds, on the calling thread.
    pub fn open(file: &Path) -> (Self, Opened) {
        Self::open_with(store::Opener::default(), file, RETRY)
    }

    /// An outbox without a file: nothing survives the process.
    pub fn in_memory() -> Self {
        Self::new(Contents::default(), Health::Stored, false)
    }

    fn open_with(how: store::Opener, file: &Path, retry: Duration) -> (Self, Opened) {
        let claim = claim::claim(&how, file);
        let (store, health) = match claim.store {
            Ok(store) => (Some(store), Health::Stored),
            Err(why) => (None, Health::InMemory(why)),
        };
        let opened = Opened {
            file: store.is_some().then(|| claim.path.clone()),
            contents: claim.contents.clone(),
            set_aside: claim.set_aside,
            taken_over: claim.taken_over,
        };
        tell(&opened, &health);
        let outbox = Self::new(claim.contents, health, true);
        let disk = writer::Disk::new(how, claim.path, store, retry);
        let shared = Arc::clone(&outbox.owner.0);
        let thread =
            std::thread::Builder::new().name("alert-outbox".into()).spawn(move || writer::run(disk, &shared));
        if let Err(error) = thread {
            let outbox =
                Self::new(opened.contents.clone(), Health::InMemory(format!("no thread: {error}")), false);
            return (outbox, opened);
        }
        (outbox, opened)
    }

    fn new(live: Contents, health: Health, has_writer: bool) -> Self {
        let shared = Shared {
            state: Mutex::new(State { live, ..State::default() }),
            changed: Condvar::new(),
            committed: watch::channel(0).0,
            health: watch::channel(health).0,
            closed: watch::channel(!has_writer).0,
            has_writer,
        };
        Self { owner: Arc::new(Owner(Arc::new(shared))) }
    }

    /// Begins a batch. Other batches wait until it is dropped, so nothing slow may happen before.
    pub fn begin(&self) -> Batch<'_> {
        Batch { shared: self.shared(), state: self.shared().lock(), changed: false }
    }

    /// The highest ticket whose batch, with all before it, is on disk, or in memory where the disk refuses.
    pub fn committed(&self) -> watch::Receiver<Ticket> {
        self.shared().committed.subscribe()
    }

    /// Where things are kept, and a notice when that changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared().health.subscribe()
    }

    /// Whether what was committed survives the process.
    pub fn is_on_disk(&self) -> bool {
        self.shared().has_writer && *self.shared().health.borrow() == Health::Stored
    }

    /// What the outbox holds now, committed or not.
    pub fn contents(&self) -> Contents {
        self.shared().lock().live.clone()
    }

    fn shared(&self) -> &Shared {
        &self.owner.0
    }

    /// Writes what is left and closes the file; `false` when that took longer than `limit`. What is put into it
    /// afterwards is lost with the process.
    pub async fn close(&self, limit: Duration) -> bool {
        self.shared().close();
        let mut closed = self.shared().closed.subscribe();
        tokio::time::timeout(limit, closed.wait_for(|closed| *closed)).await.is_ok()
    }
}

/// How long the disk is left alone after it refused.
const RETRY: Duration = Duration::from_secs(5);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Asks the writer to end.
    fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }
}

/// Changes that reach the disk together.
#[derive(Debug)]
pub struct Batch<'a> {
    shared: &'a Shared,
    state: MutexGuard<'a, State>,
    changed: bool,
}

impl Batch<'_> {
    /// Sets a record.
    pub fn put(&mut self, table: Table, key: &str, value: Vec<u8>) {
        self.changed = true;
        self.state.live.put(table, key, value.clone());
        if self.shared.has_writer {
            self.state.dirty.insert((table, key.to_owned()), Some(value));
        }
    }

    /// Removes a record, if it is there.
    pub fn remove(&mut self, table: Table, key: &str) {
        if self.state.live.remove(table, key) {
            self.changed = true;
            if self.shared.has_writer {
                self.state.dirty.insert((table, key.to_owned()), None);
            }
        }
    }

    /// The number that [`Outbox::committed`] reaches with this batch, if it changes anything.
    pub fn ticket(&self) -> Ticket {
        self.state.ticket + 1
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // Whoever only looked must not wake the writer, whose commit would wake him again.
        if !self.changed {
            return;
        }
        self.state.ticket += 1;
        if self.shared.has_writer {
            self.shared.changed.notify_all();
        } else {
            self.shared.committed.send_replace(self.state.ticket);
        }
    }
}

/// Says once what is not as it should be.
fn tell(opened: &Opened, health: &Health) {
    for file in &opened.set_aside {
        tracing::error!(target: "trading_telemetry", file = %file.display(), "alert_outbox_damaged_and_set_aside");
    }
    for file in &opened.taken_over {
        tracing::warn!(target: "trading_telemetry", file = %file.display(), "alert_outbox_of_dead_process_taken_over");
    }
    if let Health::InMemory(reason) = health {
        tracing::error!(target: "trading_telemetry", reason, "alert_outbox_in_memory_only");
    }
}

#[cfg(test)]
mod tests;
