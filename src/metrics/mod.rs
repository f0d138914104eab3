//! The instruments: the catalogue, typed groups and their bound handles, the providers and their readers.

mod bound;
mod buckets;
mod caps;
pub mod catalog;
mod collected;
mod exemplars;
mod foreign;
mod groups;
pub mod labels;
mod latch;
mod observed;
mod point;
mod reader;
mod reading;
mod registry;
mod series;
mod snapshot;

use std::sync::Arc;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;

use crate::clock::Clock;
use caps::Capped;
use catalog::{Group, Instrument};
use groups::{Components, StrategyMetrics, observe_process};
use latch::Waker;

pub(crate) use bound::Distribution;
pub(crate) use caps::{MAX_FREE_VALUES, MAX_VALUE_BYTES, OTHER};
pub(crate) use collected::{Catalogue, Collected, Exemplars, Figures, HistogramPoint, SeriesExemplars};
pub(crate) use exemplars::Exemplar;
pub(crate) use foreign::{CALLBACK_THREAD, ForeignProvider};
pub(crate) use groups::Component;
pub use groups::{Breaker, Execution, Ml, Portfolio, PortfolioSnapshot, Risk, Strategy};
pub(crate) use latch::Latched;
pub(crate) use reading::Readings;
pub(crate) use registry::Registry;
pub(crate) use series::Recorded;
#[cfg(test)]
pub(crate) use {buckets::Buckets, collected::NoExemplars, registry::attributes};

const SYSTEM_INFO: &Instrument = catalog::named("trading_system_info");

/// What the catalogue is made with.
#[derive(Debug)]
pub(crate) struct MetricsConfig {
    pub(crate) resource: Resource,
    pub(crate) groups: Vec<Group>,
    pub(crate) max_strategies: usize,
    pub(crate) version: String,
    pub(crate) environment: String,
    pub(crate) broker: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether OTLP exports the metrics.
    pub(crate) exported: bool,
}

/// The typed groups: every built-in instrument, by the part of the system that records it.
///
/// Recording is a handful of nanoseconds, and does no I/O, does not panic, and waits for no other thread: the 33rd thread
/// that records into histograms takes turns with those that follow, and where OTLP exports the metrics (`otlp.metrics`) a
/// histogram takes the SDK's own lock as well. It allocates nothing but OpenTelemetry's context of a thread, once, with
/// the thread's first call. What a call of
/// [`Audit`](crate::audit::Audit) records is recorded: a service that writes its decisions there does not count them
/// here again.
///
/// NaN and infinities are refused, and so is what would spoil a sum: a negative amount, and in counters and histograms
/// a number beyond ±9.7e288 (2^960), so that no number of recordings adds up to infinity. What is refused is counted in
/// `trading_telemetry_refused_values_total`, and told once an instrument.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Groups>);

#[derive(Debug)]
struct Groups {
    registry: Arc<Registry>,
    waker: Arc<Waker>,
    strategies: Capped<StrategyMetrics>,
    portfolio: Portfolio,
    risk: Risk,
    execution: Execution,
    ml: Ml,
    components: Components,
}

impl Metrics {
    pub(crate) fn new(config: MetricsConfig) -> Result<Self, OTelSdkError> {
        let registry = Registry::new(config.resource, &config.groups, config.max_strategies)?;
        let registry = Arc::new(registry.exporting(config.exported));
        let waker = Arc::new(Waker::default());
        let info = [config.version, config.environment, config.broker];
        registry.observe(SYSTEM_INFO, move |observer| {
            observer(&[&info[0], &info[1], &info[2]], 1.0);
        });
        observe_process(&registry);
        let over_cap = registry.over_cap("strategy");
        Ok(Self(Arc::new(Groups {
            strategies: Capped::new("strategy", config.max_strategies, over_cap),
            portfolio: Portfolio::new(&registry, config.clock),
            risk: Risk::new(&registry, &waker),
            execution: Execution::new(&registry),
            ml: Ml::new(&registry),
            components: Components::new(&registry, &waker),
            waker,
            registry,
        })))
    }

    /// The instruments of a strategy. Free text of at most 128 bytes, `metrics.max_strategies` of them; what is over
    /// either limit is counted under `other` and told once.
    ///
    /// The first call for a name binds its series, which takes some 100 µs; further ones take a lock and a look-up.
    /// Get it once and keep it.
    pub fn strategy(&self, name: &str) -> Strategy {
        Strategy::new(name, self.0.strategies.get(name, |name| StrategyMetrics::bind(&self.0.registry, name)))
    }

    /// Equity, cash, positions, daily P&L, drawdown.
    pub fn portfolio(&self) -> &Portfolio {
        &self.0.portfolio
    }

    /// Risk checks, day trades, circuit breakers, kill switch.
    pub fn risk(&self) -> &Risk {
        &self.0.risk
    }

    /// Fill latency and slippage.
    pub fn execution(&self) -> &Execution {
        &self.0.execution
    }

    /// Model accuracy, drift, feature importance, confidence.
    pub fn ml(&self) -> &Ml {
        &self.0.ml
    }

    pub(crate) fn components(&self) -> &Components {
        &self.0.components
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.0.waker
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }
}
