//! What can be said about a stock from its past bars, oldest first.
//!
//! Each function wants its window filled and answers `None` before.

use crate::bars::Bar;

fn last(bars: &[Bar], count: usize) -> Option<&[Bar]> {
    bars.len().checked_sub(count).map(|from| &bars[from..])
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Mean close of the last `days`.
pub(crate) fn average_close(bars: &[Bar], days: usize) -> Option<f64> {
    last(bars, days).map(|bars| mean(bars.iter().map(|bar| bar.close)))
}

/// Relative change of the close over the last `days`.
pub(crate) fn change(bars: &[Bar], days: usize) -> Option<f64> {
    let bars = last(bars, days + 1)?;
    Some(bars[days].close / bars[0].close - 1.0)
}

/// Average true range of the last `days`, in dollars.
pub(crate) fn average_true_range(bars: &[Bar], days: usize) -> Option<f64> {
    let pairs = last(bars, days + 1)?.windows(2);
    Some(mean(pairs.map(|pair| pair[1].high.max(pair[0].close) - pair[1].low.min(pair[0].close))))
}

/// Relative strength index of the last `days`, 0 to 100 (simple means).
pub(crate) fn relative_strength(bars: &[Bar], days: usize) -> Option<f64> {
    let (mut up, mut down) = (0.0, 0.0);
    for pair in last(bars, days + 1)?.windows(2) {
        let step = pair[1].close - pair[0].close;
        if step > 0.0 { up += step } else { down -= step }
    }
    Some(if up + down == 0.0 { 50.0 } else { 100.0 * up / (up + down) })
}

/// Volume of the last day over the mean of the last `days`.
pub(crate) fn volume_ratio(bars: &[Bar], days: usize) -> Option<f64> {
    let window = last(bars, days)?;
    Some(window[days - 1].volume / mean(window.iter().map(|bar| bar.volume)))
}

/// Daily changes of the close over the last `days`.
pub(crate) fn daily_changes(bars: &[Bar], days: usize) -> Option<Vec<f64>> {
    Some(last(bars, days + 1)?.windows(2).map(|pair| pair[1].close / pair[0].close - 1.0).collect())
}

/// Annualised standard deviation of daily changes, in percent, as the VIX is quoted.
pub(crate) fn realised_volatility(changes: &[f64]) -> f64 {
    let centre = mean(changes.iter().copied());
    let variance = mean(changes.iter().map(|change| (change - centre).powi(2)));
    (variance * 252.0).sqrt() * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closes(values: &[f64]) -> Vec<Bar> {
        let bar =
            |&close: &f64| Bar { open: close, high: close + 1.0, low: close - 1.0, close, volume: 10.0 };
        values.iter().map(bar).collect()
    }

    #[test]
    fn a_window_that_is_not_filled_says_nothing() {
        let bars = closes(&[10.0, 11.0]);
        assert_eq!(average_close(&bars, 3), None);
        assert_eq!(change(&bars, 2), None);
        assert_eq!(average_true_range(&bars, 2), None);
    }

    #[test]
    fn values_by_hand() {
        let bars = closes(&[10.0, 12.0, 9.0]);
        assert_eq!(average_close(&bars, 2), Some(10.5));
        assert_eq!(change(&bars, 1), Some(-0.25));
        // 13 − 10 and 12 − 8: the gap to the last close counts.
        assert_eq!(average_true_range(&bars, 2), Some(3.5));
        assert_eq!(relative_strength(&bars, 2), Some(40.0));
        assert_eq!(volume_ratio(&bars, 2), Some(1.0));
        let volatility = realised_volatility(&[0.01, -0.01]);
        assert!((volatility - 252.0_f64.sqrt()).abs() < 1e-9);
    }
}
