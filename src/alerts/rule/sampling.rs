//! What of a metric is compared with the levels.

use std::time::Duration;

/// What of a metric is compared with the levels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampling {
    /// A gauge's value.
    Value,
    /// By how much a counter rose within the window.
    Increase(Duration),
    /// A counter's mean rise per second over the window.
    Rate(Duration),
    /// A quantile of what a histogram saw within the window, interpolated within its buckets.
    Quantile(f64, Duration),
    /// The mean of what a histogram saw within the window.
    Mean(Duration),
}

impl Sampling {
    /// The window that it looks back over; `None` for a gauge.
    pub fn window(self) -> Option<Duration> {
        match self {
            Self::Value => None,
            Self::Increase(window) | Self::Rate(window) | Self::Quantile(_, window) | Self::Mean(window) => {
                Some(window)
            }
        }
    }

    /// Whether it grows with the time that it looks back over: of a part of its window it is too small.
    pub(crate) fn is_of_a_sum(self) -> bool {
        matches!(self, Self::Increase(_) | Self::Rate(_))
    }
}
