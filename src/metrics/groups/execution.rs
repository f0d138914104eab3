//! Fill latency and slippage.

use crate::metrics::bound::Distribution;
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::registry::Registry;

const FILL_LATENCY: &Instrument = catalog::named("trading_fill_latency_ms");
const SLIPPAGE: &Instrument = catalog::named("trading_slippage_bps");

/// How well orders are executed.
#[derive(Debug)]
pub struct Execution {
    fill_latency: Distribution,
    slippage: Distribution,
}

impl Execution {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            fill_latency: registry.distribution(FILL_LATENCY, &[]),
            slippage: registry.distribution(SLIPPAGE, &[]),
        }
    }

    /// Records the time from signal to fill in milliseconds.
    #[inline]
    pub fn fill_latency_ms(&self, milliseconds: f64) {
        self.fill_latency.record(milliseconds);
    }

    /// Records the slippage of a fill in basis points; positive is a cost.
    #[inline]
    pub fn slippage_bps(&self, basis_points: f64) {
        self.slippage.record(basis_points);
    }
}
