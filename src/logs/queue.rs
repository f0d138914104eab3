//! The bounded queue between the callers and the writing thread.
//!
//! Lines lie one after the other in one buffer, which the writer exchanges for an empty one: a caller copies its line
//! under a lock that is never held during I/O, allocates nothing once the buffers have grown, and makes no system call
//! below half of the bound, because the writer looks by itself every [`LINGER`].

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stats::{DropReason, LogStats};
use crate::lock::lock;

/// How long a line may wait for company before it is written; what a SIGKILL can lose while the disk keeps up.
pub const LINGER: Duration = Duration::from_millis(20);

/// What a caller meets when the queue is full. Audit lines and those at `warn` and above find room that others cannot
/// take: an eighth of the queue is kept for audit lines, another for those two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The caller waits for the disk, [`QueueConfig::block_for`] at most. While the disk refuses or hangs, lines are
    /// dropped all the same: a full disk must not stop an order.
    Block,
    /// The line is dropped and counted; the caller never waits.
    Drop,
}

/// Bounds of a queue.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// Bytes that may wait. As many again may be in the writer's hands.
    pub bytes: usize,
    /// Lines that may wait.
    pub lines: usize,
    /// What happens when it is full.
    pub when_full: WhenFull,
    /// The longest wait of [`WhenFull::Block`].
    pub block_for: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { bytes: 8 << 20, lines: 100_000, when_full: WhenFull::Drop, block_for: Duration::from_secs(1) }
    }
}

/// The order in which lines are given up, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Ordinary,
    Warning,
    Audit,
}

impl Rank {
    /// The part of `bound` that lines of this rank may fill.
    fn share(self, bound: usize) -> usize {
        let reserved = match self {
            Self::Ordinary => bound / 4,
            Self::Warning => bound / 8,
            Self::Audit => 0,
        };
        bound - reserved
    }
}

/// Lines were accepted, but are not on disk when the time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten {
    lines: u64,
}

impl Unwritten {
    /// How many.
    pub const fn lines(self) -> u64 {
        self.lines
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { lines: self.lines + other.lines }
    }
}

impl fmt::Display for Unwritten {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} log lines are not written, see whether the log directory is full or hangs",
            self.lines
        )
    }
}

impl std::error::Error for Unwritten {}

/// Lines in the order of their coming, and how much of them is done.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Mark>,
    done_bytes: usize,
    done_lines: usize,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    length: usize,
    audit: bool,
}

impl Batch {
    /// What is still to be written: whole lines.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.done_bytes..]
    }

    /// Passes over the first `bytes` of the rest, whole lines; how many lines they were.
    pub(super) fn advance(&mut self, bytes: usize) -> u64 {
        self.done_bytes += bytes;
        let before = self.done_lines;
        let mut left = bytes;
        while left > 0 && self.done_lines < self.lines.len() {
            left = left.saturating_sub(self.lines[self.done_lines].length);
            self.done_lines += 1;
        }
        (self.done_lines - before) as u64
    }

    fn push(&mut self, audit: bool, parts: &[&str]) {
        let before = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.lines.push(Mark { length: self.bytes.len() - before, audit });
    }

    fn clear(&mut self, keep: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(keep);
        self.lines.clear();
        (self.done_bytes, self.done_lines) = (0, 0);
    }
}

/// Lines lost and not yet told in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) queue_full: u64,
    pub(super) write_failed: u64,
    pub(super) audit: u64,
}

/// Whether there is a point in waiting for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Disk {
    #[default]
    Takes,
    /// A caller has waited in vain since the writer last took a batch.
    Hangs,
    Refuses,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    accepted: u64,
    /// Written or given up.
    settled: u64,
    abandoned: u64,
    losses: Losses,
    urgent: bool,
    disk: Disk,
    closing: Option<Instant>,
    finished: bool,
}

thread_local! {
    static NEVER_WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Marks a thread of the log's own: what a listener logs there must not wait for that very thread.
pub(super) fn never_wait_here() {
    NEVER_WAITS.set(true);
}

#[derive(Debug)]
pub(super) struct Queue {
    config: QueueConfig,
    stats: Arc<LogStats>,
    state: Mutex<State>,
    work: Condvar,
    progress: Condvar,
}

impl Queue {
    pub(super) fn new(config: QueueConfig, stats: Arc<LogStats>) -> Self {
        Self { config, stats, state: Mutex::default(), work: Condvar::new(), progress: Condvar::new() }
    }

    /// Takes a line, which must end with its only line feed, or counts it as lost.
    pub(super) fn push(&self, rank: Rank, parts: &[&str]) {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut state = lock(&self.state);
        if state.closing.is_some() {
            self.lose(&mut state, rank, DropReason::WriteFailed);
            return;
        }
        if !self.fits(&state, rank, length) {
            state = self.wait_for_room(state, rank, length);
            if !self.fits(&state, rank, length) || state.closing.is_some() {
                let disk = state.disk == Disk::Refuses || state.closing.is_some();
                let reason = if disk { DropReason::WriteFailed } else { DropReason::QueueFull };
                self.lose(&mut state, rank, reason);
                return;
            }
        }
        let pressed_before = self.pressing(&state);
        self.put(&mut state, rank == Rank::Audit, parts);
        let wake = !pressed_before && self.pressing(&state);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Takes a line of our own, whatever the bounds; the callers see to it that such lines are few.
    pub(super) fn say(&self, line: &[&str]) {
        let mut state = lock(&self.state);
        if !state.finished {
            self.put(&mut state, false, line);
        }
    }

    fn put(&self, state: &mut State, audit: bool, parts: &[&str]) {
        state.batch.push(audit, parts);
        state.accepted += 1;
        self.stats.accepted.fetch_add(1, Relaxed);
    }

    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        rank: Rank,
        length: usize,
    ) -> MutexGuard<'a, State> {
        if self.config.when_full == WhenFull::Drop || NEVER_WAITS.get() {
            return state;
        }
        let until = Instant::now() + self.config.block_for;
        while state.disk == Disk::Takes && state.closing.is_none() && !self.fits(&state, rank, length) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.disk = Disk::Hangs;
                break;
            }
            state = wait(&self.progress, state, left);
        }
        state
    }

    /// A line that is larger than the whole bound is taken by an empty queue.
    fn fits(&self, state: &State, rank: Rank, length: usize) -> bool {
        let batch = &state.batch;
        batch.lines.is_empty()
            || (batch.bytes.len() + length <= rank.share(self.config.bytes)
                && batch.lines.len() < rank.share(self.config.lines))
    }

    fn pressing(&self, state: &State) -> bool {
        state.batch.bytes.len() >= (self.config.bytes / 2).max(1)
            || state.batch.lines.len() >= (self.config.lines / 2).max(1)
    }

    fn lose(&self, state: &mut State, rank: Rank, reason: DropReason) {
        if rank == Rank::Audit {
            state.losses.audit += 1;
            self.stats.lose(reason, 0, 1);
        } else {
            if reason == DropReason::QueueFull {
                state.losses.queue_full += 1;
            } else {
                state.losses.write_failed += 1;
            }
            self.stats.lose(reason, 1, 0);
        }
    }

    /// Returns when every line accepted before the call is written.
    pub(super) fn flush(&self, within: Duration) -> Result<(), Unwritten> {
        let until = Instant::now() + within;
        let mut state = lock(&self.state);
        let (target, abandoned) = (state.accepted, state.abandoned);
        while state.settled < target {
            state.urgent = true;
            self.work.notify_one();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unwritten { lines: target - state.settled });
            }
            state = wait(&self.progress, state, left);
        }
        match state.abandoned - abandoned {
            0 => Ok(()),
            lines => Err(Unwritten { lines }),
        }
    }

    /// Takes no more lines and gives the writer until `until` for those that wait.
    pub(super) fn close(&self, until: Instant) {
        let mut state = lock(&self.state);
        if state.closing.is_none() {
            state.closing = Some(until);
        }
        drop(state);
        self.work.notify_one();
        self.progress.notify_all();
    }

    /// Waits until the writer has finished, or `until`.
    pub(super) fn finished(&self, until: Instant) -> Result<(), Unwritten> {
        let mut state = lock(&self.state);
        while !state.finished {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait(&self.progress, state, left);
        }
        match state.accepted - state.settled + state.abandoned {
            0 => Ok(()),
            lines => Err(Unwritten { lines }),
        }
    }
}

/// The writer's side.
impl Queue {
    /// Waits until there is reason to write, then exchanges `batch` for what has come. False once closed and empty.
    pub(super) fn take(&self, batch: &mut Batch) -> bool {
        batch.clear(self.config.bytes);
        let state = lock(&self.state);
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, LINGER, |state| {
                !state.urgent && state.closing.is_none() && !self.pressing(state)
            })
            .unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.batch, batch);
        state.urgent = false;
        state.disk = Disk::Takes;
        let open = state.closing.is_none() || !batch.lines.is_empty();
        drop(state);
        self.progress.notify_all();
        open
    }

    /// Notes that `lines` have reached the disk.
    pub(super) fn wrote(&self, lines: u64) {
        self.stats.written.fetch_add(lines, Relaxed);
        let mut state = lock(&self.state);
        state.settled += lines;
        state.disk = Disk::Takes;
        drop(state);
        self.progress.notify_all();
    }

    /// Notes that the disk refuses and waits before the next try. False when there is no time for another, and once
    /// closed also where the refusal `lasts`.
    pub(super) fn pause(&self, retry: Duration, lasts: bool) -> bool {
        let mut state = lock(&self.state);
        state.disk = Disk::Refuses;
        self.progress.notify_all();
        if lasts && state.closing.is_some() {
            return false;
        }
        let until = Instant::now() + retry;
        loop {
            let now = Instant::now();
            if state.closing.is_some_and(|closing| closing <= now) {
                return false;
            }
            if lasts && state.closing.is_some() {
                // The last try is due at once.
                return true;
            }
            let until = state.closing.map_or(until, |closing| closing.min(until));
            if until <= now {
                return true;
            }
            state = wait(&self.work, state, until - now);
        }
    }

    /// Gives up the rest of `batch` and whatever else waits.
    pub(super) fn abandon(&self, batch: &mut Batch) {
        let mut state = lock(&self.state);
        let waiting = mem::take(&mut state.batch);
        for mark in batch.lines[batch.done_lines..].iter().chain(&waiting.lines) {
            state.abandoned += 1;
            self.lose(
                &mut state,
                if mark.audit { Rank::Audit } else { Rank::Ordinary },
                DropReason::WriteFailed,
            );
        }
        state.settled = state.accepted;
        drop(state);
        batch.clear(0);
    }

    /// The losses not yet told, once the queue has room again.
    pub(super) fn losses_to_tell(&self) -> Option<Losses> {
        let mut state = lock(&self.state);
        if state.losses == Losses::default() || self.pressing(&state) {
            return None;
        }
        Some(mem::take(&mut state.losses))
    }

    pub(super) fn finish(&self) {
        lock(&self.state).finished = true;
        self.progress.notify_all();
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
    condition.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
}

#[cfg(test)]
mod tests;
