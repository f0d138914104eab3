//! Start-up: first everything that can fail, then what cannot be taken back.

mod error;
mod export;
mod signals;
mod subscriber;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::{Key, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use secrecy::SecretString;

use crate::alerts::Alerts;
use crate::alerts::engine::{self, AlertsSignal, AuditLost, EngineConfig};
use crate::clock::{Clock, SystemClock};
use crate::exposition::Families;
use crate::health::{self, HealthConfig, HealthSignal};
use crate::logs::{self, FileConfig, LogConfig, LogNotice, Logs, NoticeKind};
use crate::metrics::MetricsConfig;
use crate::orders::Propagation;
use crate::otlp::{self, install_crypto_provider};
use crate::panics;
use crate::server::{Access, Limits, MetricsEndpoint, Routes, Scraper, Server, TelemetryService, remedy};
use crate::settings::{self, Loaded, MountedMetrics, Propagator, Settings, Sources};
use crate::shutdown::Signal;
use crate::telemetry::{Core, Telemetry};
pub use error::InitError;
use error::Kind;
use signals::{Export, ExportSignal, LogsSignal, ServerSignal};
pub use subscriber::layer;

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
    subscriber::check()?;
    let Loaded { settings, service_name, warnings, file, .. } =
        Settings::load(sources).map_err(Kind::Settings)?;
    let disabled = settings.system.telemetry_disabled;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let resource = resource(&service_name, &settings);
    let metrics = MetricsConfig {
        resource: resource.clone(),
        groups: settings.metrics.groups.iter().collect(),
        max_strategies: settings.metrics.max_strategies,
        version: settings.system.version.clone(),
        environment: settings.system.environment.clone(),
        broker: settings.system.broker.clone(),
        clock: Arc::clone(&clock),
        exported: settings.otlp.target(settings::Signal::Metrics).is_some(),
    };
    let health = HealthConfig::from(&settings);
    let core = Core::new(&service_name, metrics, health).map_err(Kind::OpenTelemetry)?;
    let export = if disabled {
        None
    } else {
        install_crypto_provider();
        export::start(&settings.otlp, resource.clone(), core.readings()).map_err(Kind::Otlp)?.map(Export::new)
    };
    let core = core.with_tracers(tracers(&settings, &resource, export.as_deref()));
    let logs = Arc::new(start_logs(&service_name, &settings, &clock)?);
    core.observe_logs(&logs);
    let checks = core.health.plan().map_err(Kind::Health)?;
    let scraper = scraper(&core);
    let (alerts, engine) = if disabled {
        (Alerts::detached(), None)
    } else {
        let instance = resource.get(&Key::new("service.instance.id")).map(|id| id.to_string());
        let instance = instance.unwrap_or_default();
        let config = EngineConfig::new(&service_name, &instance, &settings, core.components())
            .map_err(Kind::Alerts)?;
        let (alerts, engine) =
            engine::prepare(config, core.readings(), Arc::clone(&clock), audit_lost(&logs))
                .map_err(Kind::Alerts)?;
        (alerts, Some(engine))
    };
    let server =
        if disabled { None } else { Some(start_server(&core, &scraper, &alerts, &logs, &settings)?) };

    subscriber::install(&core, &logs, export.as_deref())?;
    if !disabled {
        global::set_meter_provider(core.foreign.clone());
        global::set_tracer_provider(core.tracers.clone());
        global::set_text_map_propagator(core.propagation);
    }
    panics::install(Arc::clone(&logs));
    core.observe_panics();

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

    let engine = (!disabled).then(|| AlertsSignal(alerts.clone()));
    let signals = signals(&core, &settings, &logs, export.as_ref(), engine, server);
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

/// What has something to bring home at the shutdown.
fn signals(
    core: &Core,
    settings: &Settings,
    logs: &Arc<Logs>,
    export: Option<&Arc<Export>>,
    alerts: Option<AlertsSignal>,
    server: Option<Server>,
) -> Vec<Arc<dyn Signal>> {
    let mut signals: Vec<Arc<dyn Signal>> =
        vec![Arc::new(LogsSignal(Arc::clone(logs))), Arc::new(HealthSignal(core.health.clone()))];
    if let Some(export) = export {
        core.observe_otlp(Arc::clone(export.otlp().stats()));
        for signal in settings::Signal::ALL {
            if settings.otlp.target(signal).is_some() {
                signals.push(Arc::new(ExportSignal { export: Arc::clone(export), signal }));
            }
        }
    }
    if let Some(alerts) = alerts {
        signals.push(Arc::new(alerts));
    }
    if let Some(server) = server {
        signals.push(Arc::new(ServerSignal::new(server)));
    }
    signals
}

fn resource(service: &str, settings: &Settings) -> Resource {
    let attributes: Vec<_> = settings.otlp.resource_attributes.clone().into_iter().collect();
    otlp::resource(&otlp::Service {
        name: service,
        version: &settings.system.version,
        environment: &settings.system.environment,
        attributes: &attributes,
    })
}

/// The tracers, and how traces cross services. Without an export ids, sampling and exemplars are the same.
fn tracers(
    settings: &Settings,
    resource: &Resource,
    export: Option<&Export>,
) -> (SdkTracerProvider, Propagation) {
    let sampler = export::sampling(&settings.otlp.sampling).sampler();
    let mut builder = SdkTracerProvider::builder().with_resource(resource.clone()).with_sampler(sampler);
    if let Some(processor) = export.and_then(|export| export.otlp().span_processor()) {
        builder = builder.with_span_processor(processor);
    }
    let names = &settings.otlp.propagators;
    let propagation =
        Propagation::new(names.contains(&Propagator::TraceContext), names.contains(&Propagator::Baggage));
    (builder.build(), propagation)
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
        return Err(Kind::PortRequired { address, error: error.to_string(), remedy: remedy(error) }.into());
    }
    Ok(server)
}

/// One for all ports, so that scrapes at the same time share a collection.
pub(crate) fn scraper(core: &Core) -> Arc<Scraper> {
    let readings = core.readings();
    Scraper::new(Arc::new(move || readings.collect()))
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

/// A log that cannot be written cannot say so itself.
fn tell_on_stderr(notice: &LogNotice) {
    let path = notice.path.display();
    // Where standard error is gone too, nobody is left to be told.
    let _ = match notice.kind {
        NoticeKind::WriteFailed => writeln!(
            io::stderr(),
            "trading-telemetry: the log {path} cannot be written ({}); lines wait in memory, make the folder writable or \
             set SA_LOGGING__DIRECTORY to another",
            notice.detail
        ),
        NoticeKind::Recovered => writeln!(io::stderr(), "trading-telemetry: the log {path} is written again"),
        _ => Ok(()),
    };
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
    Ok(Logs::start(config, Arc::clone(clock), tell_on_stderr).map_err(Kind::Logs)?)
}

/// Reads how many lines of the audit trail were lost so far.
fn audit_lost(logs: &Logs) -> AuditLost {
    let stats: Vec<_> = std::iter::once(logs.stats()).chain(logs.audit_stats()).map(Arc::clone).collect();
    Box::new(move || stats.iter().map(|stats| stats.audit_lost()).sum())
}
