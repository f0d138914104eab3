//! The handle.

mod core;

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Meter, MeterProvider};

pub(crate) use self::core::Core;
use crate::alerts::Alerts;
use crate::audit::Audit;
use crate::health::Health;
use crate::init::TelemetryBuilder;
use crate::logs::{EventFilter, Logs};
use crate::metrics::Metrics;
use crate::orders::{Order, Propagation};
use crate::process_signals;
use crate::server::TelemetryService;
use crate::shutdown::{ShutdownError, ShutdownReport, Signal, shut_down};

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
                inner.end();
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

    /// Shuts down where nobody reads the report: what was lost is told where it can be, the log's own lines included.
    fn end(&self) {
        if let Err(error) = self.shut_down(self.deadline).into_result() {
            // Where standard error is gone too, nobody is left to be told.
            let _ = writeln!(io::stderr(), "trading-telemetry: {error}");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.report.get().is_none() {
            self.end();
        }
    }
}
