//! The population stability index: how far a model's scores have moved from those of its training window.

use std::collections::VecDeque;

/// Scores of the training window as quantile bins, and the latest scores.
#[derive(Clone, Debug)]
pub(crate) struct Drift {
    reference: Vec<f64>,
    recent: VecDeque<f64>,
}

impl Drift {
    const REFERENCE: usize = 400;
    const RECENT: usize = 160;
    /// Few bins: each adds noise of about 1/160 + 1/400 to an index whose alarm is at 0.1.
    const BINS: usize = 5;

    pub(crate) fn new() -> Self {
        Self { reference: Vec::new(), recent: VecDeque::new() }
    }

    /// The first scores make the reference, the later ones are compared with it.
    pub(crate) fn record(&mut self, score: f64) {
        if self.reference.len() < Self::REFERENCE {
            self.reference.push(score);
        }
        if self.recent.len() == Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(score);
    }

    /// Takes a new model's scores of its training window, the latest last.
    pub(crate) fn start_over(&mut self, scores: Vec<f64>) {
        self.recent = scores[scores.len().saturating_sub(Self::RECENT)..].iter().copied().collect();
        self.reference = scores;
    }

    /// Σ (recent − reference) × ln(recent ÷ reference) over the shares of each bin; 0 is no drift. `None` until the
    /// reference is full.
    pub(crate) fn psi(&self) -> Option<f64> {
        if self.reference.len() < Self::REFERENCE || self.recent.len() < Self::RECENT {
            return None;
        }
        let mut sorted = self.reference.clone();
        sorted.sort_by(f64::total_cmp);
        let bounds: Vec<f64> = (1..Self::BINS).map(|bin| sorted[sorted.len() * bin / Self::BINS]).collect();
        let reference = shares(&bounds, self.reference.iter());
        let recent = shares(&bounds, self.recent.iter());
        Some(reference.iter().zip(&recent).map(|(from, to)| (to - from) * (to / from).ln()).sum())
    }
}

/// The share of each bin; half a score is added to each, so that an empty one has a logarithm.
fn shares<'a>(bounds: &[f64], scores: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    let mut counts = vec![0.5; bounds.len() + 1];
    for score in scores {
        counts[bounds.partition_point(|bound| bound <= score)] += 1.0;
    }
    let sum: f64 = counts.iter().sum();
    counts.iter().map(|count| count / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(recent: impl Fn(u32) -> f64) -> Drift {
        let mut drift = Drift::new();
        (0..400).for_each(|i| drift.record(f64::from(i % 100) / 100.0));
        (0..160).for_each(|i| drift.record(recent(i)));
        drift
    }

    #[test]
    fn the_same_distribution_is_no_drift() {
        let psi = recorded(|i| f64::from(i * 37 % 100) / 100.0).psi().unwrap();
        assert!((0.0..0.02).contains(&psi), "{psi}");
    }

    #[test]
    fn a_shift_is_a_drift_by_the_formula() {
        // All in the highest of five bins: 0.5/162.5 in four of them, 160.5/162.5 in the last, where 0.2 was.
        let psi = recorded(|_| 0.95).psi().unwrap();
        let (low, high) = (0.5 / 162.5, 160.5 / 162.5_f64);
        let expected = 4.0 * (low - 0.2) * f64::ln(low / 0.2) + (high - 0.2) * f64::ln(high / 0.2);
        assert!((psi - expected).abs() < 1e-9, "{psi} {expected}");
    }

    #[test]
    fn nothing_is_said_before_the_reference_is_full() {
        let mut drift = Drift::new();
        (0..399).for_each(|_| drift.record(0.5));
        assert_eq!(drift.psi(), None);
    }
}
