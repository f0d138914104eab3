//! What a counter or a histogram did within a window, from its sums since the process began.

use std::collections::VecDeque;
use std::time::Duration;

use super::sample::Measured;
use crate::alerts::rule::Sampling;

/// How many points a window is kept in, so that a long one costs no more than a short one.
const RESOLUTION: u32 = 60;

/// The recent sums of one series. For a counter the one sum; for a histogram the sum of the observations and then the
/// count of each bucket.
#[derive(Debug)]
pub(super) struct Window {
    sampling: Sampling,
    span: Duration,
    points: VecDeque<(Duration, Vec<f64>)>,
    /// As collected last; a sum below it is a reset.
    raw: Vec<f64>,
    /// Without resets.
    total: Vec<f64>,
    /// Room for what is collected, so that no collection allocates.
    next: Vec<f64>,
}

impl Window {
    pub(super) fn new(sampling: Sampling) -> Option<Self> {
        let span = sampling.window()?;
        Some(Self {
            sampling,
            span,
            points: VecDeque::new(),
            raw: Vec::new(),
            total: Vec::new(),
            next: Vec::new(),
        })
    }

    /// Takes what was collected.
    pub(super) fn push(&mut self, measured: &Measured<'_>, now: Duration) {
        // A histogram's sum may fall where observations are negative; its counts may not.
        let (sum, counts, first_monotonic): (_, &[u64], _) = match *measured {
            Measured::Gauge { .. } => return,
            Measured::Counter(sum) => (sum, &[], 0),
            Measured::Histogram { counts, sum, .. } => (sum, counts, 1),
        };
        self.next.clear();
        self.next.push(sum);
        self.next.extend(counts.iter().map(|count| as_f64(*count)));
        let is_first = self.total.len() != self.next.len();
        if is_first {
            // The series begins with its process, so that what it holds when it is first seen has just been added.
            self.points.clear();
            self.points.push_back((now, vec![0.0; self.next.len()]));
            self.total.clone_from(&self.next);
        } else {
            let is_reset =
                self.raw.iter().zip(&self.next).skip(first_monotonic).any(|(last, sum)| sum < last);
            for ((total, last), sum) in self.total.iter_mut().zip(&self.raw).zip(&self.next) {
                *total += if is_reset { *sum } else { sum - last };
            }
        }
        std::mem::swap(&mut self.raw, &mut self.next);
        let is_due = |(at, _): &(Duration, _)| now.saturating_sub(*at) >= self.span / RESOLUTION;
        if is_first || self.points.back().is_none_or(is_due) {
            self.points.push_back((now, self.total.clone()));
        }
        while self.points.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= self.span) {
            self.points.pop_front();
        }
    }

    /// Whether the series has been seen for the whole window.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.points.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= self.span)
    }

    /// The value to compare; `None` where there were no observations.
    pub(super) fn value(&self, bounds: &[f64]) -> Option<f64> {
        let (_, before) = self.points.front()?;
        let mut rise = self.total.iter().zip(before).map(|(now, before)| now - before);
        let sum = rise.next()?;
        match self.sampling {
            Sampling::Value => None,
            Sampling::Increase(_) => Some(sum),
            Sampling::Rate(window) => Some(sum / window.as_secs_f64()),
            Sampling::Mean(_) => {
                let count: f64 = rise.sum();
                (count > 0.0).then(|| sum / count)
            }
            Sampling::Quantile(quantile, _) => self::quantile(quantile, bounds, &rise.collect::<Vec<_>>()),
        }
    }
}

/// As Prometheus' `histogram_quantile`: linear within a bucket, the last finite bound beyond it.
fn quantile(quantile: f64, bounds: &[f64], counts: &[f64]) -> Option<f64> {
    let all: f64 = counts.iter().sum();
    if all <= 0.0 {
        return None;
    }
    let rank = quantile * all;
    let mut below = 0.0;
    for (index, count) in counts.iter().enumerate() {
        if *count > 0.0 && below + count >= rank {
            let Some(upper) = bounds.get(index) else { return bounds.last().copied() };
            let lower = match index.checked_sub(1).and_then(|index| bounds.get(index)) {
                Some(lower) => *lower,
                None if *upper <= 0.0 => return Some(*upper),
                None => 0.0,
            };
            return Some(lower + (upper - lower) * ((rank - below) / count));
        }
        below += count;
    }
    bounds.last().copied()
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is none")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn window(sampling: Sampling) -> Window {
        Window::new(sampling).expect("a window")
    }

    #[test]
    fn an_increase_is_that_of_the_window_and_a_reset_is_no_fall() {
        let mut window = window(Sampling::Increase(seconds(60)));
        window.push(&Measured::Counter(2.0), seconds(0));
        assert_eq!(window.value(&[]), Some(2.0), "a counter begins at 0 with its process");
        window.push(&Measured::Counter(5.0), seconds(30));
        assert_eq!(window.value(&[]), Some(5.0));
        assert!(!window.is_full(seconds(59)));
        window.push(&Measured::Counter(5.0), seconds(60));
        assert!(window.is_full(seconds(60)));
        window.push(&Measured::Counter(1.0), seconds(70));
        assert_eq!(window.value(&[]), Some(4.0), "3 at 30 s, and 1 after the reset");
        window.push(&Measured::Counter(1.0), seconds(300));
        assert_eq!(window.value(&[]), Some(0.0));
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let bounds = [100.0, 500.0, 1000.0];
        assert_eq!(quantile(0.5, &bounds, &[0.0, 4.0, 0.0, 0.0]), Some(300.0));
        assert_eq!(quantile(1.0, &bounds, &[1.0, 0.0, 0.0, 1.0]), Some(1000.0), "beyond the last bound");
        assert_eq!(quantile(0.5, &bounds, &[2.0, 0.0, 0.0, 0.0]), Some(50.0));
        assert_eq!(quantile(0.5, &[-5.0, 5.0], &[2.0, 0.0, 0.0]), Some(-5.0));
        assert_eq!(quantile(0.5, &bounds, &[0.0; 4]), None, "no observations");
    }

    #[test]
    fn a_mean_is_that_of_the_window() {
        let histogram = |sum, counts| Measured::Histogram { bounds: &[10.0], counts, sum };
        let mut window = window(Sampling::Mean(seconds(60)));
        window.push(&histogram(100.0, &[0, 1]), seconds(0));
        assert_eq!(window.value(&[10.0]), Some(100.0));
        window.push(&histogram(100.0, &[0, 1]), seconds(60));
        window.push(&histogram(112.0, &[2, 1]), seconds(120));
        assert_eq!(window.value(&[10.0]), Some(6.0));
        window.push(&histogram(112.0, &[2, 1]), seconds(300));
        assert_eq!(window.value(&[10.0]), None);
    }
}
