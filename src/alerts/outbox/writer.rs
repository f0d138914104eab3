//! The thread that waits for the disk, so that nobody else does.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use super::claim::open_or_replace;
use super::contents::{Changes, Contents};
use super::store::{Opener, Store};
use super::{Health, Shared, Ticket};

/// The file, open or waiting to be opened again.
#[derive(Debug)]
pub(super) struct Disk {
    opener: Opener,
    path: PathBuf,
    store: Option<Store>,
    /// Whether the file was read at the start. What an unread one holds belongs to the next start.
    read: bool,
    retry: Duration,
}

impl Disk {
    pub(super) fn new(opener: Opener, path: PathBuf, store: Option<Store>, retry: Duration) -> Self {
        let read = store.is_some();
        Self { opener, path, store, read, retry }
    }

    /// Writes `changes`, or everything into a file that was opened again.
    fn write(
        &mut self,
        changes: &Changes,
        everything: impl FnOnce(Contents) -> Contents,
    ) -> Result<(), String> {
        let first = match &self.store {
            // What is written into a file that was deleted is lost with the process.
            Some(_) if !self.path.exists() => None,
            Some(store) => match store.commit(changes) {
                Ok(()) => return Ok(()),
                Err(error) => Some(error),
            },
            None => None,
        };
        // After an I/O error a database refuses everything until it is opened again.
        if let Some(store) = self.store.take() {
            store.close();
        }
        let mut set_aside = Vec::new();
        let opened = open_or_replace(&self.opener, &self.path, &mut set_aside);
        for file in set_aside {
            tracing::error!(target: "trading_telemetry", file = %file.display(), "alert_outbox_damaged_and_set_aside");
        }
        let (store, contents) = opened.map_err(|refusal| first.unwrap_or_else(|| refusal.to_string()))?;
        let unread = if std::mem::replace(&mut self.read, true) { Contents::default() } else { contents };
        match store.replace(&everything(unread)) {
            Ok(()) => {
                self.store = Some(store);
                Ok(())
            }
            Err(error) => {
                store.close();
                Err(error)
            }
        }
    }
}

/// What the thread woke up for.
struct Work {
    changes: Changes,
    ticket: Ticket,
    closing: bool,
}

pub(super) fn run(mut disk: Disk, shared: &Shared) {
    loop {
        let work = wait(&disk, shared);
        if !work.changes.is_empty() || disk.store.is_none() {
            let everything = |unread| {
                let mut state = shared.lock();
                state.live.adopt(unread);
                state.live.clone()
            };
            let written = disk.write(&work.changes, everything);
            report(shared, written);
        }
        shared.committed.send_if_modified(|committed| {
            let grown = work.ticket > *committed;
            *committed = work.ticket.max(*committed);
            grown
        });
        if work.closing && shared.lock().dirty.is_empty() {
            if let Some(store) = disk.store.take() {
                store.close();
            }
            shared.closed.send_replace(true);
            return;
        }
    }
}

/// Waits for changes; without a file, for the next try at most.
fn wait(disk: &Disk, shared: &Shared) -> Work {
    let mut state = shared.lock();
    loop {
        let unseen = state.ticket > *shared.committed.borrow();
        if !state.dirty.is_empty() || unseen || state.closing {
            break;
        }
        if disk.store.is_some() {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        } else {
            let waited =
                shared.changed.wait_timeout(state, disk.retry).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() {
                break;
            }
        }
    }
    Work { changes: std::mem::take(&mut state.dirty), ticket: state.ticket, closing: state.closing }
}

/// Tells of a change of health, once.
fn report(shared: &Shared, written: Result<(), String>) {
    shared.health.send_if_modified(|health| match (&*health, written) {
        (Health::Stored, Ok(())) | (Health::InMemory(_), Err(_)) => false,
        (Health::Stored, Err(reason)) => {
            tracing::error!(target: "trading_telemetry", reason, "alert_outbox_in_memory_only");
            *health = Health::InMemory(reason);
            true
        }
        (Health::InMemory(_), Ok(())) => {
            tracing::info!(target: "trading_telemetry", "alert_outbox_on_disk_again");
            *health = Health::Stored;
            true
        }
    });
}
