//! What delivery shows of itself, in numbers that cost an atomic each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::alerts::event::AlertSeverity;
use crate::lock::lock;

/// What became of a notification: the label `result` of `trading_alerts_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryResult {
    /// The channel accepted it.
    Sent,
    /// A try failed, and there will be another.
    Retried,
    /// The channel never took it.
    Undeliverable,
    /// The queue was full, or the incident that it ends had not been told.
    Dropped,
    /// A silence muted it.
    Silenced,
    /// Another message told of it.
    Deduplicated,
}

impl DeliveryResult {
    /// Every result, in the order of the catalogue.
    pub const ALL: [Self; 6] =
        [Self::Sent, Self::Retried, Self::Undeliverable, Self::Dropped, Self::Silenced, Self::Deduplicated];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retried => "retried",
            Self::Undeliverable => "undeliverable",
            Self::Dropped => "dropped",
            Self::Silenced => "silenced",
            Self::Deduplicated => "deduplicated",
        }
    }
}

/// How many durations are kept between two calls of [`ChannelStats::take_durations`].
const KEPT_DURATIONS: usize = 1024;

/// The counters of one channel.
#[derive(Debug)]
pub struct ChannelStats {
    name: &'static str,
    counts: [[AtomicU64; DeliveryResult::ALL.len()]; AlertSeverity::ALL.len()],
    attempts: AtomicU64,
    up: AtomicBool,
    durations: Mutex<Vec<Duration>>,
}

impl ChannelStats {
    pub(in crate::alerts) fn new(name: &'static str) -> Self {
        Self {
            name,
            counts: Default::default(),
            attempts: AtomicU64::new(0),
            up: AtomicBool::new(true),
            durations: Mutex::default(),
        }
    }

    /// The channel.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many notifications of `severity` came to `result`.
    pub fn count(&self, severity: AlertSeverity, result: DeliveryResult) -> u64 {
        self.counts[severity as usize][result as usize].load(Ordering::Relaxed)
    }

    /// How many requests were made.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Whether the channel took the last message that it was sent. True before the first, and again once nothing has
    /// waited for a while that could show whether it is still down.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// How long the requests since the last call took, the first thousand of them, for a histogram.
    pub fn take_durations(&self) -> Vec<Duration> {
        std::mem::take(&mut *lock(&self.durations))
    }

    pub(super) fn add(&self, severity: AlertSeverity, result: DeliveryResult) {
        self.add_many(severity, result, 1);
    }

    pub(super) fn add_many(&self, severity: AlertSeverity, result: DeliveryResult, number: u64) {
        self.counts[severity as usize][result as usize].fetch_add(number, Ordering::Relaxed);
    }

    pub(super) fn attempted(&self, took: Duration) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut durations = lock(&self.durations);
        if durations.len() < KEPT_DURATIONS {
            durations.push(took);
        }
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }
}

/// The queue of one channel at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSnapshot {
    /// How many messages wait, the one in flight included.
    pub length: usize,
    /// The age of the oldest.
    pub oldest: Option<Duration>,
    /// The age of the oldest critical one.
    pub oldest_critical: Option<Duration>,
}
