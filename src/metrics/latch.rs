//! Values that wake the alerts when they change: kill switch, breakers, day trades, component state.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which of two values is the worse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worse {
    Higher,
    Lower,
}

impl Worse {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            _ if left.is_nan() => right,
            _ if right.is_nan() => left,
            Self::Higher => left.max(right),
            Self::Lower => left.min(right),
        }
    }
}

/// The last value and the worst since it was read, so that a blip between two evaluations is seen.
#[derive(Debug)]
pub(crate) struct Latch {
    worse: Worse,
    last: AtomicU64,
    worst: AtomicU64,
}

/// What a [`Latch`] held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latched {
    pub(crate) last: f64,
    pub(crate) worst: f64,
}

impl Latch {
    pub(crate) fn new(worse: Worse) -> Self {
        Self { worse, last: AtomicU64::new(f64::NAN.to_bits()), worst: AtomicU64::new(f64::NAN.to_bits()) }
    }

    /// Keeps the value and says whether it is another one than before.
    pub(crate) fn set(&self, value: f64) -> bool {
        let before = self.last.swap(value.to_bits(), Ordering::AcqRel);
        // The closure always answers, so the update always happens.
        let _ = self.worst.fetch_update(Ordering::AcqRel, Ordering::Acquire, |worst| {
            Some(self.worse.of(f64::from_bits(worst), value).to_bits())
        });
        before != value.to_bits()
    }

    /// The last value and the worst since this was last called; `None` before the first [`Self::set`].
    pub(crate) fn take(&self) -> Option<Latched> {
        let worst = f64::from_bits(self.worst.swap(f64::NAN.to_bits(), Ordering::AcqRel));
        let last = f64::from_bits(self.last.load(Ordering::Acquire));
        (!last.is_nan()).then(|| Latched { last, worst: self.worse.of(worst, last) })
    }
}

/// Wakes whoever evaluates the alert rules. Waking costs a system call, so only rare changes do it.
#[derive(Default)]
pub(crate) struct Waker(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl Waker {
    /// Sets what is called on a wake-up; the first one stays.
    pub(crate) fn set(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(wake));
    }

    pub(crate) fn wake(&self) {
        if let Some(wake) = self.0.get() {
            wake();
        }
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waker").field(&self.0.get().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blip_between_two_reads_is_kept() {
        let latch = Latch::new(Worse::Higher);
        assert_eq!(latch.take(), None);
        assert!(latch.set(0.0));
        assert!(latch.set(1.0));
        assert!(latch.set(0.0));
        assert!(!latch.set(0.0));
        assert_eq!(latch.take(), Some(Latched { last: 0.0, worst: 1.0 }));
        assert_eq!(latch.take(), Some(Latched { last: 0.0, worst: 0.0 }));
    }

    #[test]
    fn a_component_that_was_away_for_a_moment_was_down() {
        let latch = Latch::new(Worse::Lower);
        latch.set(1.0);
        latch.set(0.0);
        latch.set(1.0);
        assert_eq!(latch.take(), Some(Latched { last: 1.0, worst: 0.0 }));
    }
}
