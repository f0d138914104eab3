//! A small model that learns as it goes: logistic regression on features of the last weeks, which predicts whether a
//! stock closes higher tomorrow. Its accuracy counts only predictions made before the outcome was known.

use std::collections::VecDeque;

use crate::bars::Bar;
use crate::drift::Drift;
use crate::indicators::{
    average_close, average_true_range, change, daily_changes, realised_volatility, relative_strength,
    volume_ratio,
};

/// Names of the features, in the order of a row.
pub(crate) const FEATURES: [&str; 7] =
    ["return_1d", "return_5d", "rsi_14", "trend_20d", "volatility_10d", "volume_ratio", "gap_to_range"];

/// One stock's features on one evening.
pub(crate) type Row = [f64; FEATURES.len()];

/// The features of the last of these bars; `None` before there are enough.
pub(crate) fn features(bars: &[Bar]) -> Option<Row> {
    let today = bars.last()?;
    let range = average_true_range(bars, 14)?;
    Some([
        change(bars, 1)?,
        change(bars, 5)?,
        relative_strength(bars, 14)?,
        today.close / average_close(bars, 20)? - 1.0,
        realised_volatility(&daily_changes(bars, 10)?),
        volume_ratio(bars, 20)?.ln(),
        (today.close - today.open) / range,
    ])
}

/// What the model thinks of one stock's tomorrow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prediction {
    /// Probability of a higher close tomorrow.
    pub(crate) rise: f64,
}

impl Prediction {
    /// Probability of the predicted direction.
    pub(crate) fn confidence(self) -> f64 {
        self.rise.max(1.0 - self.rise)
    }
}

/// The model and the record of how well it did.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    weights: Row,
    bias: f64,
    /// Raw rows with their outcomes, the latest [`Self::MEMORY`].
    seen: VecDeque<(Row, bool)>,
    hits: VecDeque<bool>,
    drift: Drift,
    drifted_days: u32,
    /// As of the last evening; `None` during the warm-up.
    scale: Option<Scale>,
}

impl Model {
    /// Rows on which features are standardised and a retrain is done: a year of four stocks.
    const MEMORY: usize = 1_000;
    /// Rows before the first prediction.
    const WARM_UP: usize = 80;
    /// Predictions over which accuracy is taken.
    const ACCURACY_WINDOW: usize = 240;
    const LEARNING_RATE: f64 = 0.01;
    /// Pulls the weights of features that say nothing to zero.
    const DECAY: f64 = 0.002;
    const RETRAIN_PASSES: usize = 3;
    /// A retrain is due when the scores have drifted beyond this for so many days in a row.
    const RETRAIN_PSI: f64 = 0.2;
    const RETRAIN_DAYS: u32 = 10;

    pub(crate) fn new() -> Self {
        Self {
            weights: [0.0; FEATURES.len()],
            bias: 0.0,
            seen: VecDeque::new(),
            hits: VecDeque::new(),
            drift: Drift::new(),
            drifted_days: 0,
            scale: None,
        }
    }

    /// Predicts from tonight's features; `None` during the warm-up.
    pub(crate) fn predict(&mut self, row: &Row) -> Option<Prediction> {
        let rise = self.score(&self.scale.as_ref()?.apply(row));
        self.drift.record(rise);
        Some(Prediction { rise })
    }

    /// Learns what became of a row, and whether the prediction made of it was right.
    pub(crate) fn learn(&mut self, row: &Row, prediction: Option<&Prediction>, rose: bool) {
        if let Some(prediction) = prediction {
            push_bounded(&mut self.hits, (prediction.rise > 0.5) == rose, Self::ACCURACY_WINDOW);
        }
        push_bounded(&mut self.seen, (*row, rose), Self::MEMORY);
        if let Some(scale) = &self.scale {
            let row = scale.apply(row);
            self.step(&row, rose);
        }
    }

    /// Ends a day's lessons. Refits from nothing when the drift has lasted, and says whether it did.
    pub(crate) fn finish_day(&mut self) -> bool {
        if self.seen.len() < Self::WARM_UP {
            return false;
        }
        let scale = Scale::of(&self.seen);
        self.scale = Some(scale.clone());
        let drifted = self.psi().is_some_and(|psi| psi > Self::RETRAIN_PSI);
        self.drifted_days = if drifted { self.drifted_days + 1 } else { 0 };
        if self.drifted_days < Self::RETRAIN_DAYS {
            return false;
        }
        self.drifted_days = 0;
        (self.weights, self.bias) = ([0.0; FEATURES.len()], 0.0);
        let rows: Vec<(Row, bool)> = self.seen.iter().map(|(row, rose)| (scale.apply(row), *rose)).collect();
        for _ in 0..Self::RETRAIN_PASSES {
            for (row, rose) in &rows {
                self.step(row, *rose);
            }
        }
        let scores: Vec<f64> = rows.iter().map(|(row, _)| self.score(row)).collect();
        self.drift.start_over(scores);
        true
    }

    /// Share of right predictions among the latest; `None` until a few are known.
    pub(crate) fn accuracy(&self) -> Option<f64> {
        let right = self.hits.iter().filter(|hit| **hit).count();
        (self.hits.len() >= Self::ACCURACY_WINDOW / 4).then(|| right as f64 / self.hits.len() as f64)
    }

    /// How far the scores have moved from those of the training window; see [`Drift`].
    pub(crate) fn psi(&self) -> Option<f64> {
        self.drift.psi()
    }

    /// Each feature's share of the weights; they sum to one. `None` before anything was learned.
    pub(crate) fn importances(&self) -> Option<[(&'static str, f64); FEATURES.len()]> {
        let sum: f64 = self.weights.iter().map(|weight| weight.abs()).sum();
        (sum > 0.0).then(|| std::array::from_fn(|i| (FEATURES[i], self.weights[i].abs() / sum)))
    }

    fn score(&self, row: &Row) -> f64 {
        let sum = self.bias + self.weights.iter().zip(row).map(|(weight, value)| weight * value).sum::<f64>();
        1.0 / (1.0 + (-sum).exp())
    }

    /// One step of gradient descent on the log loss.
    fn step(&mut self, row: &Row, rose: bool) {
        let error = f64::from(u8::from(rose)) - self.score(row);
        self.bias += Self::LEARNING_RATE * error;
        for (weight, value) in self.weights.iter_mut().zip(row) {
            *weight += Self::LEARNING_RATE * (error * value - Self::DECAY * *weight);
        }
    }
}

/// Mean and standard deviation of each feature.
#[derive(Clone, Debug)]
struct Scale {
    centre: Row,
    spread: Row,
}

impl Scale {
    /// A day of 2008 can be ten deviations away; it may not tear the weights with it.
    const FARTHEST: f64 = 3.0;

    fn of(seen: &VecDeque<(Row, bool)>) -> Self {
        let count = seen.len() as f64;
        let centre: Row = std::array::from_fn(|i| seen.iter().map(|(row, _)| row[i]).sum::<f64>() / count);
        let spread = std::array::from_fn(|i| {
            let variance = seen.iter().map(|(row, _)| (row[i] - centre[i]).powi(2)).sum::<f64>() / count;
            variance.sqrt().max(1e-9)
        });
        Self { centre, spread }
    }

    fn apply(&self, row: &Row) -> Row {
        std::array::from_fn(|i| {
            ((row[i] - self.centre[i]) / self.spread[i]).clamp(-Self::FARTHEST, Self::FARTHEST)
        })
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A market in which the first feature alone decides.
    fn taught() -> Model {
        let mut model = Model::new();
        for i in 0..900_u32 {
            let mut row = [0.0; FEATURES.len()];
            row[0] = f64::from(i * 7 % 13) - 6.5;
            row[1] = f64::from(i * 5 % 11);
            let prediction = model.predict(&row);
            model.learn(&row, prediction.as_ref(), row[0] > 0.0);
            if i % 4 == 3 {
                model.finish_day();
            }
        }
        model
    }

    #[test]
    fn it_learns_what_decides_and_says_so() {
        let model = taught();
        assert!(model.accuracy().unwrap() > 0.95, "{:?}", model.accuracy());
        let importances = model.importances().unwrap();
        assert!(importances[0].1 > 0.7, "{importances:?}");
        assert!((importances.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn confidence_is_the_probability_of_the_predicted_side() {
        let mut model = taught();
        let row = |first| std::array::from_fn(|i| if i == 0 { first } else { 0.0 });
        let (fall, rise) = (model.predict(&row(-6.0)).unwrap(), model.predict(&row(6.0)).unwrap());
        assert!(fall.rise < 0.4 && rise.rise > 0.6);
        assert!(fall.confidence() > 0.6 && rise.confidence() > 0.6);
    }

    #[test]
    fn nothing_is_predicted_during_the_warm_up() {
        let mut model = Model::new();
        assert_eq!(model.predict(&[1.0; FEATURES.len()]), None);
        assert_eq!((model.accuracy(), model.psi(), model.importances()), (None, None, None));
    }

    #[test]
    fn a_lasting_drift_retrains() {
        let mut model = taught();
        let mut days = 0;
        while !model.finish_day() {
            for _ in 0..4 {
                let mut row = [0.0; FEATURES.len()];
                row[0] = 6.5;
                model.predict(&row);
            }
            days += 1;
            assert!(days < 200, "psi {:?}", model.psi());
        }
        assert!(model.psi().unwrap() < 0.1);
    }
}
