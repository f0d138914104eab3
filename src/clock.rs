//! Time as this crate sees it: a monotonic reading that every interval is measured on, and the wall clock, which may
//! jump and is only ever shown.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::lock::lock;

/// A source of time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since a fixed but arbitrary point; never goes back.
    fn monotonic(&self) -> Duration;
    /// The time of day, for people.
    fn wall(&self) -> Timestamp;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic reading starts at zero now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<(Duration, Timestamp)>,
}

impl ManualClock {
    /// A clock at monotonic zero and the given time of day.
    pub fn new(wall: Timestamp) -> Self {
        Self { state: Mutex::new((Duration::ZERO, wall)) }
    }

    /// Lets `by` pass on both readings.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.0 += by;
        state.1 = state.1.saturating_add(by).unwrap_or(Timestamp::MAX);
    }

    /// Sets the time of day alone, as an operator or NTP would.
    pub fn jump_wall(&self, to: Timestamp) {
        self.lock().1 = to;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Duration, Timestamp)> {
        lock(&self.state)
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.lock().0
    }

    fn wall(&self) -> Timestamp {
        self.lock().1
    }
}
