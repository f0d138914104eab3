//! The handle.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::alerts::Alerts;
use crate::alerts::engine::{ComponentFacts, Components};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::health::{Health, HealthConfig};
use crate::init::TelemetryBuilder;
use crate::logs::{DropReason, EventFilter, LogStats, Logs};
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::{ForeignProvider, Metrics, MetricsConfig, Readings};
use crate::orders::{Order, OrderTracerProvider, Propagation};
use crate::otlp::OtlpStats;
use crate::panics;
use crate::process_signals;
use crate::server::TelemetryService;
use crate::settings;
use crate::shutdown::{ShutdownError, ShutdownReport, Signal, shut_down};

const CALLBACK_FAILURES: &Instrument = catalog::named("trading_telemetry_foreign_collect_failures_total");

const LOG_DROPPED: &Instrument = catalog::named("trading_telemetry_log_dropped_total");
const PANICS: &Instrument = catalog::named("trading_telemetry_panics_total");
const OTLP_ITEMS: &Instrument = catalog::named("trading_telemetry_otlp_items_total");
const AUDIT_LOST: &Instrument = catalog::named("trading_telemetry_audit_lost_total");

/// How long a shutdown may take unless the caller says otherwise.
pub(crate) const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// The telemetry of a service: one per process, cheap to clone. The last clone that goes shuts it down.
#[derive(Clone)]
#[must_use = "dropping the last handle shuts the telemetry down"]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    core: Core,
    audit: Audit,
    alerts: Alerts,
    logs: Option<Arc<Logs>>,
    service: TelemetryService,
    signals: Vec<Arc<dyn Signal>>,
    addresses: Vec<SocketAddr>,
    deadline: Duration,
    report: OnceLock<ShutdownReport>,
}

/// What every telemetry has, with globals or without.
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

impl Telemetry {
    pub(crate) fn assemble(
        core: Core,
        alerts: Alerts,
        logs: Option<Arc<Logs>>,
        service: TelemetryService,
        signals: Vec<Arc<dyn Signal>>,
        addresses: Vec<SocketAddr>,
        deadline: Duration,
    ) -> Self {
        let audit = Audit::new(core.metrics.clone(), alerts.clone());
        Self {
            inner: Arc::new(Inner {
                core,
                audit,
                alerts,
                logs,
                service,
                signals,
                addresses,
                deadline,
                report: OnceLock::new(),
            }),
        }
    }

    /// What a service says about its telemetry in code, before it starts.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::new()
    }

    /// The addresses at which the server answers, as far as they could be bound at the start.
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        &self.inner.addresses
    }

    /// The typed groups: every built-in instrument.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.core.metrics
    }

    /// A meter for instruments of the service's own, which come out on the same scrape by OpenTelemetry's rules for
    /// Prometheus names. A callback that panics or hangs costs its own series and nothing else. An instrument of floats
    /// refuses what [`Metrics`] refuses. From the 2,001st series of an instrument on OpenTelemetry adds them all up in
    /// one, marked `otel_metric_overflow="true"`: that is told once, and counted in
    /// `trading_telemetry_over_cap_total{what="series"}`.
    pub fn meter(&self, name: impl Into<Cow<'static, str>>) -> Meter {
        self.inner.core.foreign.meter_with_scope(InstrumentationScope::builder(name).build())
    }

    /// An order about to be worked on: everything inside its spans carries its id.
    pub fn order<'a>(&self, order_id: &'a str) -> Order<'a> {
        Order::new(order_id)
    }

    /// How the current order and trace cross to other services: in headers, or in any map of strings.
    pub fn propagation(&self) -> Propagation {
        self.inner.core.propagation
    }

    /// Shuts down when the process is asked to end (`SIGTERM`, `SIGINT`, on Windows Ctrl-C), and then ends it with the
    /// exit code that shells give such an end: 128 and the signal's number. A service that handles signals itself
    /// calls [`Self::shutdown`] instead.
    ///
    /// # Errors
    ///
    /// When no thread can be started, or the signals cannot be caught.
    pub fn shutdown_on_signals(&self) -> std::io::Result<()> {
        let telemetry = Arc::downgrade(&self.inner);
        process_signals::on_end(move |code| {
            if let Some(inner) = telemetry.upgrade() {
                // Whatever was lost stands in the log and in nobody's way any more.
                let _ = inner.shut_down(inner.deadline);
            }
            std::process::exit(code)
        })
    }

    /// Trading decisions: metric, audit line and alert in one call.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// The health of the components: checks, heartbeats, and what the service reports itself.
    pub fn health(&self) -> &Health {
        &self.inner.core.health
    }

    /// `/metrics`, `/health` and `/ready` as a service to mount on a server that the process has anyway, such as the
    /// API's on :8000. Its `/metrics` shows the health families and `trading_system_info` alone, so that nothing is
    /// counted twice with both ports scraped; `monitoring.mounted_metrics: all` shows everything. The token is that of
    /// `monitoring.bearer_token`.
    pub fn service(&self) -> TelemetryService {
        self.inner.service.clone()
    }

    /// Alerts that the service sends by itself, incidents, silences.
    pub fn alerts(&self) -> &Alerts {
        &self.inner.alerts
    }

    /// The log file that lines are written to now.
    pub fn log_file(&self) -> PathBuf {
        self.inner.logs.as_ref().map(|logs| logs.stats().path()).unwrap_or_default()
    }

    /// The filter of the log, to be changed while the service runs, for good or for a time; `None` in a test's telemetry,
    /// which has no log.
    pub fn log_filter(&self) -> Option<&EventFilter> {
        self.inner.logs.as_ref().map(|logs| logs.filter())
    }

    /// The service's name.
    pub fn service_name(&self) -> &str {
        &self.inner.core.service
    }

    /// Waits until everything that was accepted before the call is on disk or exported, `within` at the most for each
    /// signal, and says whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        // Every signal is tried, also after one that failed.
        self.inner.signals.iter().filter(|signal| !signal.flush(within)).count() == 0
    }

    /// Flushes and stops everything within `system.shutdown_timeout_seconds`, five by default. A second call gives the same report.
    ///
    /// # Errors
    ///
    /// When something accepted was lost, or a signal did not finish in time; the error holds the report.
    pub fn shutdown(&self) -> Result<ShutdownReport, ShutdownError> {
        self.shutdown_within(self.inner.deadline)
    }

    /// [`Self::shutdown`] under a deadline of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Self::shutdown`].
    pub fn shutdown_within(&self, deadline: Duration) -> Result<ShutdownReport, ShutdownError> {
        self.inner.shut_down(deadline).into_result()
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("service", &self.inner.core.service).finish_non_exhaustive()
    }
}

impl Inner {
    fn shut_down(&self, deadline: Duration) -> ShutdownReport {
        self.report.get_or_init(|| shut_down(&self.signals, deadline)).clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.report.get().is_some() {
            return;
        }
        if let Err(error) = self.shut_down(self.deadline).into_result() {
            tracing::error!(target: "trading_telemetry", %error, "telemetry_lost_at_shutdown");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count, far below 2^53")]
fn count(items: u64) -> f64 {
    items as f64
}
