//! What every telemetry has, with globals or without, and what it shows of itself.

use std::sync::Arc;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::alerts::engine::{ComponentFacts, Components};
use crate::clock::Clock;
use crate::health::{Health, HealthConfig};
use crate::logs::{DropReason, LogStats, Logs};
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::{ForeignProvider, Metrics, MetricsConfig, Readings};
use crate::orders::{OrderTracerProvider, Propagation};
use crate::otlp::OtlpStats;
use crate::panics;
use crate::settings;

const CALLBACK_FAILURES: &Instrument = catalog::named("trading_telemetry_foreign_collect_failures_total");
const LOG_DROPPED: &Instrument = catalog::named("trading_telemetry_log_dropped_total");
const PANICS: &Instrument = catalog::named("trading_telemetry_panics_total");
const OTLP_ITEMS: &Instrument = catalog::named("trading_telemetry_otlp_items_total");
const AUDIT_LOST: &Instrument = catalog::named("trading_telemetry_audit_lost_total");

/// The parts that every telemetry has.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub(crate) service: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) foreign: ForeignProvider,
    pub(crate) tracers: OrderTracerProvider,
    pub(crate) propagation: Propagation,
    pub(crate) health: Health,
}

impl Core {
    pub(crate) fn new(
        service: &str,
        config: MetricsConfig,
        health: HealthConfig,
    ) -> Result<Self, OTelSdkError> {
        let resource: Resource = config.resource.clone();
        let clock = Arc::clone(&config.clock);
        let metrics = Metrics::new(config)?;
        let foreign = ForeignProvider::new(resource, Arc::clone(metrics.registry()))?;
        let failures = foreign.clone();
        metrics.registry().observe(CALLBACK_FAILURES, move |observer| {
            observer(&[], count(failures.failures()));
        });
        let service = Arc::from(service);
        let health = Health::new(&service, &clock, &metrics, health);
        Ok(Self {
            service,
            clock,
            metrics,
            foreign,
            tracers: OrderTracerProvider(SdkTracerProvider::default()),
            propagation: Propagation::default(),
            health,
        })
    }

    /// With these tracers, and this way for traces to cross services.
    pub(crate) fn with_tracers(self, (tracers, propagation): (SdkTracerProvider, Propagation)) -> Self {
        Self { tracers: OrderTracerProvider(tracers), propagation, ..self }
    }

    /// What the alerts have to know of components.
    pub(crate) fn components(&self) -> Components {
        let health = self.health.clone();
        Components::new(move |name| {
            let known = health.component(name);
            known.map_or_else(ComponentFacts::default, |known| ComponentFacts {
                pages: known.pages,
                interval: known.interval,
                last_error: known.last_error,
            })
        })
    }

    /// Shows the panics of the service.
    pub(crate) fn observe_panics(&self) {
        self.metrics.registry().observe(PANICS, |observer| observer(&[], count(panics::count())));
    }

    /// Shows what becomes of what is exported.
    pub(crate) fn observe_otlp(&self, stats: Arc<OtlpStats>) {
        self.metrics.registry().observe(OTLP_ITEMS, move |observer| {
            for signal in settings::Signal::ALL {
                let report = stats.report().of(signal);
                observer(&[signal.as_str(), "exported"], count(report.exported));
                observer(&[signal.as_str(), "lost"], count(report.lost));
            }
        });
    }

    /// Shows what becomes of the log's lines.
    pub(crate) fn observe_logs(&self, logs: &Logs) {
        let stats: Vec<Arc<LogStats>> =
            std::iter::once(logs.stats()).chain(logs.audit_stats()).map(Arc::clone).collect();
        let audit = stats.clone();
        let registry = self.metrics.registry();
        registry.observe(LOG_DROPPED, move |observer| {
            for reason in DropReason::ALL {
                observer(&[reason.as_str()], count(stats.iter().map(|stats| stats.dropped(*reason)).sum()));
            }
        });
        registry.observe(AUDIT_LOST, move |observer| {
            observer(&[], count(audit.iter().map(|stats| stats.audit_lost()).sum()));
        });
    }

    pub(crate) fn readings(&self) -> Readings {
        Readings::new(self.metrics.clone(), self.foreign.clone())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count, far below 2^53")]
fn count(items: u64) -> f64 {
    items as f64
}
