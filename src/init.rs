//! Start-up: first everything that can fail, then what cannot be taken back.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use secrecy::SecretString;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::layer::SubscriberExt;

use crate::alerts::Alerts;
use crate::alerts::engine::{self, AlertsSignal, EngineConfig, EngineError};
use crate::clock::{Clock, SystemClock};
use crate::exposition::Families;
use crate::health::{self, CheckError, HealthConfig, HealthSignal};
use crate::logs::{self, DropReason, FileConfig, LogConfig, LogError, LogStats, Logs};
use crate::metrics::MetricsConfig;
use crate::orders;
use crate::server::{
    Access, CollectError, Limits, MetricsEndpoint, Routes, Scraper, Server, TelemetryService,
};
use crate::settings::{self, Loaded, MountedMetrics, Settings, SettingsError, Sources};
use crate::shutdown::{Signal, SignalOutcome};
use crate::telemetry::{Core, Telemetry};

/// Whether this process has its telemetry.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Starts the telemetry of a service from the settings file and the environment: settings, logs, traces, metrics and the
/// server on :8001. Works inside a tokio runtime of either flavour and without one.
///
/// ```no_run
/// let telemetry = trading_telemetry::init_telemetry()?;
/// telemetry.metrics().risk().kill_switch(false);
/// telemetry.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`TelemetryBuilder::init`].
pub fn init_telemetry() -> Result<Telemetry, InitError> {
    Telemetry::builder().init()
}

/// What a service says about its telemetry in code; it wins over the settings.
#[derive(Debug)]
#[must_use = "nothing starts before `init`"]
pub struct TelemetryBuilder {
    sources: Sources,
}

impl TelemetryBuilder {
    pub(crate) fn new() -> Self {
        Self { sources: Sources::from_process() }
    }

    /// The service's name, in place of `OTEL_SERVICE_NAME`, the settings' and the program's.
    pub fn service_name(self, name: impl Into<String>) -> Self {
        Self { sources: self.sources.service_name(name) }
    }

    /// The settings file, in place of `SA_SETTINGS_FILE` and `config/settings.yaml`. It must exist.
    pub fn settings_file(self, path: impl Into<PathBuf>) -> Self {
        Self { sources: self.sources.file(path) }
    }

    /// One setting by its key, written as in the environment: `set("monitoring.prometheus_port", "8011")`.
    pub fn set(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { sources: self.sources.set(key, value) }
    }

    /// Starts the telemetry. Once per process, also after a shutdown.
    ///
    /// # Errors
    ///
    /// When the settings are wrong, the telemetry was started before, another `tracing` subscriber is in place, or
    /// something could not be set up that `required` asks for. The error says what to do.
    pub fn init(self) -> Result<Telemetry, InitError> {
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(Kind::AlreadyStarted.into());
        }
        let started = start(&self.sources);
        if started.is_err() {
            STARTED.store(false, Ordering::Release);
        }
        started
    }
}

fn start(sources: &Sources) -> Result<Telemetry, InitError> {
    // One that was in place for a while and is gone again is no obstacle.
    if !tracing::dispatcher::get_default(Dispatch::is::<NoSubscriber>) {
        return Err(Kind::ForeignSubscriber.into());
    }
    let Loaded { settings, service_name, warnings, file, .. } =
        Settings::load(sources).map_err(Kind::Settings)?;
    let disabled = settings.system.telemetry_disabled;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let resource = resource(&service_name, &settings);
    let tracers = SdkTracerProvider::builder().with_resource(resource.clone()).build();
    let config = MetricsConfig {
        resource,
        groups: settings.metrics.groups.iter().collect(),
        max_strategies: settings.metrics.max_strategies,
        version: settings.system.version.clone(),
        environment: settings.system.environment.clone(),
        broker: settings.system.broker.clone(),
        clock: Arc::clone(&clock),
    };
    let health = HealthConfig::from(&settings);
    let core = Core::new(&service_name, config, health, tracers).map_err(Kind::OpenTelemetry)?;
    let logs = Arc::new(start_logs(&service_name, &settings, &clock)?);
    core.observe_logs(&logs);
    let checks = core.health.plan().map_err(Kind::Health)?;
    let scraper = scraper(&core);
    let (alerts, engine) = if disabled {
        (Alerts::detached(), None)
    } else {
        let instance = std::process::id().to_string();
        let config = EngineConfig::new(&service_name, &instance, &settings).map_err(Kind::Alerts)?;
        let (alerts, engine) =
            engine::prepare(config, core.readings(), Arc::clone(&clock)).map_err(Kind::Alerts)?;
        (alerts, Some(engine))
    };
    let server =
        if disabled { None } else { Some(start_server(&core, &scraper, &alerts, &logs, &settings)?) };

    let subscriber = tracing_subscriber::registry().with(orders::layer(&core.tracers)).with(logs.layer());
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return Err(Kind::ForeignSubscriber.into());
    }
    if !disabled {
        global::set_meter_provider(core.foreign.clone());
        global::set_tracer_provider(core.tracers.clone());
    }

    for warning in &warnings {
        tracing::warn!(target: "trading_telemetry", warning = warning.as_str(), "settings_warning");
    }
    if disabled {
        tracing::error!(
            target: "trading_telemetry",
            hint = "unset OTEL_SDK_DISABLED (system.telemetry_disabled) to turn them on",
            "metrics_and_alerts_disabled"
        );
    }
    if let Some(engine) = engine {
        engine.start().map_err(Kind::Alerts)?;
    }
    let mut addresses = Vec::new();
    if let Some(server) = &server {
        server.tell_unbound();
        addresses = server.addresses();
    }
    tracing::info!(
        target: "trading_telemetry",
        version = env!("CARGO_PKG_VERSION"),
        settings = file.map(|file| file.display().to_string()),
        metrics = addresses.first().map(|address| format!("http://{address}/metrics")),
        "telemetry_started"
    );

    if !disabled {
        core.health.start(checks);
    }

    let mut signals: Vec<Arc<dyn Signal>> = vec![
        Arc::new(TracesSignal(core.tracers.0.clone())),
        Arc::new(LogsSignal(Arc::clone(&logs))),
        Arc::new(HealthSignal(core.health.clone())),
    ];
    if !disabled {
        signals.push(Arc::new(AlertsSignal(alerts.clone())));
    }
    if let Some(server) = server {
        signals.push(Arc::new(ServerSignal(Mutex::new(Some(server)))));
    }
    let families = match settings.monitoring.mounted_metrics {
        MountedMetrics::Health => Families::default(),
        MountedMetrics::All => Families::all(),
    };
    let mounted = routes(&core, &scraper, settings.monitoring.bearer_token.clone(), families);
    let service = TelemetryService::new(Arc::new(mounted));
    Ok(Telemetry::assemble(
        core,
        alerts,
        Some(logs),
        service,
        signals,
        addresses,
        settings.system.shutdown_timeout,
    ))
}

fn resource(service: &str, settings: &Settings) -> Resource {
    Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.version", settings.system.version.clone()),
            KeyValue::new("deployment.environment.name", settings.system.environment.clone()),
        ])
        .build()
}

fn start_server(
    core: &Core,
    scraper: &Arc<Scraper>,
    alerts: &Alerts,
    logs: &Logs,
    settings: &Settings,
) -> Result<Server, InitError> {
    let monitoring = &settings.monitoring;
    let addresses = monitoring
        .prometheus_host
        .iter()
        .map(|host| SocketAddr::new(*host, monitoring.prometheus_port))
        .collect();
    let routes = routes(core, scraper, monitoring.bearer_token.clone(), Families::all());
    let has_token = monitoring.bearer_token.is_some();
    let routes = Arc::new(engine::mount(routes, alerts, logs.filter(), &core.clock, has_token));
    let server = Server::start(addresses, routes, Limits::default()).map_err(Kind::Server)?;
    if monitoring.required
        && let Some((address, error)) = server.unbound().next()
    {
        return Err(Kind::PortRequired { address, error: error.to_string() }.into());
    }
    Ok(server)
}

/// One for all ports, so that scrapes at the same time share a collection.
pub(crate) fn scraper(core: &Core) -> Arc<Scraper> {
    let readings = core.readings();
    Scraper::new(Arc::new(move || readings.collect().ok_or(CollectError::ShutDown)))
}

/// The table of routes, for the server of our own and for that of a service.
pub(crate) fn routes(
    core: &Core,
    scraper: &Arc<Scraper>,
    token: Option<SecretString>,
    families: Families,
) -> Routes {
    let (get, health) = (hyper::Method::GET, &core.health);
    Routes::new(token)
        .mount(get.clone(), "/metrics", Access::Token, MetricsEndpoint::new(Arc::clone(scraper), families))
        .mount(get.clone(), "/health", Access::Open, health::alive(health.clone()))
        .mount(get, "/ready", Access::Open, health::ready(health.clone()))
}

fn start_logs(service: &str, settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Logs, InitError> {
    let logging = &settings.logging;
    let mut config = LogConfig::new(service);
    config.file.path = logging.file_path(service);
    config.file.rotate_bytes = logging.max_file_bytes;
    config.file.keep = logging.max_files as usize;
    config.audit_file = logging.audit_path(service).map(|path| FileConfig {
        path,
        rotate_bytes: logging.audit_max_file_bytes,
        keep: logging.audit_max_files.map_or(usize::MAX, |files| files as usize),
    });
    config.queue.lines = logging.queue_lines;
    config.queue.when_full = match logging.when_full {
        settings::WhenFull::Block => logs::WhenFull::Block,
        settings::WhenFull::Drop => logs::WhenFull::Drop,
    };
    config.format = match logging.format {
        settings::LogFormat::Auto => logs::LogFormat::Auto,
        settings::LogFormat::Json => logs::LogFormat::Json,
        settings::LogFormat::Console => logs::LogFormat::Console,
    };
    logging.directives().clone_into(&mut config.filter);
    Ok(Logs::start(config, Arc::clone(clock), |_notice| ()).map_err(Kind::Logs)?)
}

/// The traces' signal: ends the provider and with it its processors.
struct TracesSignal(SdkTracerProvider);

impl Signal for TracesSignal {
    fn name(&self) -> &'static str {
        "traces"
    }

    fn shutdown(&self, deadline: Duration) -> SignalOutcome {
        let error = self.0.shutdown_with_timeout(deadline).err().map(|error| error.to_string());
        SignalOutcome { delivered: None, lost: 0, kept: 0, error }
    }
}

/// The logs' signal: every accepted line is on disk or counted as lost.
struct LogsSignal(Arc<Logs>);

impl Signal for LogsSignal {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn shutdown(&self, deadline: Duration) -> SignalOutcome {
        let error = self.0.shutdown(deadline).err().map(|error| error.to_string());
        let stats = || std::iter::once(self.0.stats()).chain(self.0.audit_stats());
        let lost = |stats: &LogStats| {
            DropReason::ALL.iter().map(|reason| stats.dropped(*reason)).sum::<u64>() + stats.audit_lost()
        };
        SignalOutcome {
            delivered: Some(stats().map(|stats| stats.written()).sum()),
            lost: stats().map(|stats| lost(stats)).sum(),
            kept: 0,
            error,
        }
    }
}

/// The server's signal: open requests end.
struct ServerSignal(Mutex<Option<Server>>);

impl Signal for ServerSignal {
    fn name(&self) -> &'static str {
        "server"
    }

    fn shutdown(&self, deadline: Duration) -> SignalOutcome {
        let server = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = server.is_none_or(|server| server.shutdown(deadline));
        let error = (!ended).then(|| "requests were cut off".to_owned());
        SignalOutcome { delivered: None, lost: 0, kept: 0, error }
    }
}

/// Why the telemetry did not start.
///
/// `Debug` is what a person reads, causes and all: it is what a `main` that returns the error prints.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct InitError(#[from] Kind);

impl fmt::Debug for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error(
        "the telemetry of this process was started before: keep the handle that the first call returned and clone it"
    )]
    AlreadyStarted,
    #[error(
        "another tracing subscriber is in place: remove its init() call; this crate writes the logs and makes the spans"
    )]
    ForeignSubscriber,
    #[error(transparent)]
    Settings(SettingsError),
    #[error(transparent)]
    Alerts(EngineError),
    #[error("cannot log")]
    Logs(#[source] LogError),
    #[error("a health check of the settings cannot be made")]
    Health(#[source] CheckError),
    #[error("OpenTelemetry cannot be set up")]
    OpenTelemetry(#[source] opentelemetry_sdk::error::OTelSdkError),
    #[error("no thread for the metrics server can be started, raise the limit of threads")]
    Server(#[source] std::io::Error),
    #[error(
        "the metrics address {address} cannot be bound ({error}) and monitoring.required is set: free it, or set \
         SA_MONITORING__PROMETHEUS_PORT to another port"
    )]
    PortRequired { address: SocketAddr, error: String },
}

impl InitError {
    /// Whether the settings are wrong.
    pub fn is_settings(&self) -> bool {
        matches!(self.0, Kind::Settings(_))
    }

    /// Whether a check in `health.checks` cannot be made.
    pub fn is_health_check(&self) -> bool {
        matches!(self.0, Kind::Health(_))
    }

    /// Whether this process has its telemetry already.
    pub fn is_already_started(&self) -> bool {
        matches!(self.0, Kind::AlreadyStarted)
    }

    /// Whether another `tracing` subscriber is in place.
    pub fn is_foreign_subscriber(&self) -> bool {
        matches!(self.0, Kind::ForeignSubscriber)
    }

    /// Whether a required address could not be bound.
    pub fn is_port_unavailable(&self) -> bool {
        matches!(self.0, Kind::PortRequired { .. })
    }
}
