//! How fast a channel may be sent to, and how long to wait after a failure.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use super::entry::Urgency;

/// One or more limits, each so many messages at once and one more per interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    limits: Vec<Limit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    burst: u32,
    every: Duration,
}

impl Pace {
    /// At most `burst` (at least 1) messages at once, and one more each `every`.
    ///
    /// Of a burst the last is kept for the kill switch, so that it never waits for a flood of other critical messages, and
    /// the one before it for a critical message. The first is kept for nothing: a burst of one has no reserve.
    pub fn new(burst: u32, every: Duration) -> Self {
        Self { limits: Vec::new() }.and(burst, every)
    }

    /// And not more than this either.
    #[must_use]
    pub fn and(mut self, burst: u32, every: Duration) -> Self {
        self.limits.push(Limit { burst: burst.max(1), every });
        self
    }
}

/// The tokens of a [`Pace`].
#[derive(Debug)]
pub(super) struct Tokens {
    pace: Pace,
    /// One for each limit.
    left: Vec<f64>,
    counted_at: Duration,
}

impl Tokens {
    pub(super) fn full(pace: Pace, now: Duration) -> Self {
        let left = pace.limits.iter().map(|limit| f64::from(limit.burst)).collect();
        Self { pace, left, counted_at: now }
    }

    /// Goes on at `pace`.
    pub(super) fn keep_to(&mut self, pace: Pace, now: Duration) {
        if pace != self.pace {
            *self = Self::full(pace, now);
        }
    }

    /// Takes a token, or tells how long until there is one.
    pub(super) fn take(&mut self, now: Duration, urgency: Urgency) -> Result<(), Duration> {
        // Rounding must not leave a token at 0.999… for ever.
        const ENOUGH: f64 = 1e-6;
        let kept = match urgency {
            Urgency::KillSwitch => 0.0,
            Urgency::Critical => 1.0,
            Urgency::Ordinary => 2.0,
        };
        self.count(now);
        let mut wait = Duration::ZERO;
        for (limit, left) in self.pace.limits.iter().zip(&self.left) {
            let needed = f64::from(limit.burst).min(1.0 + kept);
            if *left + ENOUGH < needed {
                wait = wait.max(limit.every.mul_f64(needed - *left));
            }
        }
        if !wait.is_zero() {
            return Err(wait.max(Duration::from_millis(1)));
        }
        self.left.iter_mut().for_each(|left| *left -= 1.0);
        Ok(())
    }

    /// Takes note that a message that took a token is no longer on its way. The service counts it from when it came in,
    /// which may have been only now, and until then its own bucket may have been full: it holds no more than a full one
    /// without this message.
    pub(super) fn landed(&mut self, now: Duration) {
        self.count(now);
        for (limit, left) in self.pace.limits.iter().zip(&mut self.left) {
            if !limit.every.is_zero() {
                *left = left.min(f64::from(limit.burst) - 1.0);
            }
        }
    }

    /// Adds what has come since the last time.
    fn count(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.counted_at);
        self.counted_at = now;
        for (limit, left) in self.pace.limits.iter().zip(&mut self.left) {
            let burst = f64::from(limit.burst);
            *left = if limit.every.is_zero() {
                burst
            } else {
                burst.min(*left + elapsed.div_duration_f64(limit.every))
            };
        }
    }
}

/// Exponential waits after failures, with jitter, so that many processes don't return at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_mins(1) }
    }
}

impl Backoff {
    /// How long to wait after this many failures in a row: between half of the exponential wait and all of it.
    /// `jitter` is in 0..1.
    pub(super) fn after(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let wait = doubled.min(self.longest).mul_f64(0.5 + jitter / 2.0);
        wait.max(self.first.min(self.longest))
    }
}

/// A number in 0..1, another one each time.
pub(super) fn jitter() -> f64 {
    f64::from((random() >> 32) as u32) / f64::from(u32::MAX).next_up()
}

/// Random enough for ids and jitter: the standard library seeds each hasher from the operating system.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_last_token_of_a_burst_is_for_the_kill_switch_and_the_one_before_it_for_a_critical_message() {
        use Urgency::{Critical, KillSwitch, Ordinary};
        let mut tokens = Tokens::full(Pace::new(3, SECOND), Duration::ZERO);
        for (urgency, another) in [(Ordinary, SECOND), (Critical, SECOND), (KillSwitch, SECOND)] {
            assert_eq!(tokens.take(Duration::ZERO, urgency), Ok(()), "{urgency:?}");
            assert_eq!(tokens.take(Duration::ZERO, urgency), Err(another), "{urgency:?}");
        }
        assert_eq!(tokens.take(SECOND, Critical), Err(SECOND), "the reserve is filled first");
        assert_eq!(tokens.take(SECOND, KillSwitch), Ok(()));
    }

    #[test]
    fn a_burst_that_is_too_small_for_both_reserves_has_one_or_none() {
        use Urgency::{Critical, KillSwitch, Ordinary};
        for milder in [Ordinary, Critical] {
            let mut two = Tokens::full(Pace::new(2, SECOND), Duration::ZERO);
            assert_eq!(two.take(Duration::ZERO, milder), Ok(()));
            assert_eq!(two.take(Duration::ZERO, milder), Err(SECOND));
            assert_eq!(two.take(Duration::ZERO, KillSwitch), Ok(()));

            let mut one = Tokens::full(Pace::new(1, SECOND), Duration::ZERO);
            assert_eq!(one.take(Duration::ZERO, milder), Ok(()));
            assert_eq!(one.take(Duration::ZERO, KillSwitch), Err(SECOND));
            assert_eq!(one.take(SECOND, milder), Ok(()));
        }
    }

    #[test]
    fn each_limit_holds() {
        let mut tokens = Tokens::full(Pace::new(3, SECOND).and(20, 3 * SECOND), Duration::ZERO);
        let mut sent = 0;
        for millis in (0..60_000).step_by(50) {
            sent += u32::from(tokens.take(Duration::from_millis(millis), Urgency::KillSwitch).is_ok());
        }
        assert_eq!(sent, 20 + 19);
    }

    /// A service sees messages when they come in, and not when they are sent: the first of a connection takes longer.
    #[test]
    fn a_service_that_counts_from_when_a_message_comes_in_sees_the_pace_hold() {
        for burst in 1..=4 {
            let pace = Pace::new(burst, SECOND);
            let mut tokens = Tokens::full(pace.clone(), Duration::ZERO);
            // It has nothing in reserve, and takes what comes.
            let mut service = Tokens::full(pace, Duration::ZERO);
            let mut now = Duration::ZERO;
            for message in 0..2000 {
                while let Err(wait) = tokens.take(now, Urgency::KillSwitch) {
                    now += wait;
                }
                let [way, back] = [(); 2].map(|()| Duration::from_secs(2).mul_f64(jitter().powi(4)));
                assert_eq!(
                    service.take(now + way, Urgency::KillSwitch),
                    Ok(()),
                    "message {message} of {burst}"
                );
                now += way + back;
                tokens.landed(now);
                if message % 10 == 0 {
                    now += 10 * SECOND.mul_f64(jitter());
                }
            }
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::default();
        assert_eq!(backoff.after(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff.after(2, 1.0), SECOND);
        assert_eq!(backoff.after(2, 0.0), Duration::from_millis(500));
        assert_eq!(backoff.after(8, 1.0), 60 * SECOND);
        assert_eq!(backoff.after(u32::MAX, 0.0), 30 * SECOND);
    }

    #[test]
    fn jitter_is_in_its_range_and_differs() {
        let drawn: Vec<f64> = (0..100).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(drawn.iter().any(|value| (value - drawn[0]).abs() > 1e-9));
    }
}
