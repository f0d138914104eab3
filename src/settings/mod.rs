//! Settings: the whole tree with its defaults, read from `config/settings.yaml`, `SA_…` variables, the standard
//! `OTEL_*` ones and files that hold secrets.
//!
//! ```
//! use trading_telemetry::settings::{Settings, Sources};
//!
//! let sources = Sources::empty().variable("SA_MONITORING__PROMETHEUS_PORT", "8002").program("risk");
//! let loaded = Settings::load(&sources)?;
//! assert_eq!(loaded.settings.monitoring.prometheus_port, 8002);
//! assert_eq!(loaded.service_name, "risk");
//! # Ok::<(), trading_telemetry::settings::SettingsError>(())
//! ```

mod alerts;
mod check;
mod describe;
mod environment;
mod error;
mod file;
mod health;
mod leaf;
mod load;
mod logging;
mod node;
mod otlp;
mod reader;
mod service;
mod sources;
mod standard;
mod tree;
mod url;
mod values;

pub use alerts::{
    AlertSettings, AlertmanagerSettings, ChannelKind, Channels, FlappingSettings, Pager, ReminderSettings,
    Route, RouteSettings, SlackSettings, TelegramSettings, TtlSettings,
};
pub use describe::Effective;
pub use error::SettingsError;
pub use health::{CheckKind, CheckSettings, DailyWindow, HealthSettings, HoursSettings, Probe};
pub use load::Loaded;
pub use logging::{LogFormat, LogLevel, LoggingSettings, WhenFull};
pub use node::Origin;
pub use otlp::{
    BatchSettings, Export, OtlpCompression, OtlpProtocol, OtlpSettings, OtlpTarget, Propagator, Sampler,
    SamplingSettings, Signal, SignalSettings, Temporality,
};
pub use service::{Groups, MetricsSettings, MonitoringSettings, MountedMetrics, SystemSettings};
pub use sources::Sources;
pub use url::HttpUrl;

use tracing_subscriber::filter::{ParseError, Targets};
use tree::section;

section! {
    /// Every setting.
    pub struct Settings {
        /// The server that Prometheus scrapes and probes ask.
        monitoring: MonitoringSettings = MonitoringSettings::default();
        /// What this service is: feeds `trading_system_info` and the resource of traces, logs and metrics.
        system: SystemSettings = SystemSettings::default();
        /// Which instruments this service publishes.
        metrics: MetricsSettings = MetricsSettings::default();
        /// Log lines: what is written, where to, and how long it is kept.
        logging: LoggingSettings = LoggingSettings::default();
        /// Export over OTLP: off until there is an endpoint. The standard `OTEL_*` variables win over this section.
        otlp: OtlpSettings = OtlpSettings::default();
        /// Alerts: who is told, how often, and what happens when they cannot be reached.
        alerts: AlertSettings = AlertSettings::default();
        /// Health of the components that trading depends on.
        health: HealthSettings = HealthSettings::default();
    }
}

impl Settings {
    /// `config/settings.yaml` with every key, its default and its documentation.
    pub fn reference() -> String {
        describe::reference()
    }
}

/// Reads the log's filter; the error says what is wrong with it.
pub(crate) fn logging_filter(directives: &str) -> Result<Targets, String> {
    if directives.contains(['[', '{']) {
        return Err("it speaks of spans or fields".to_owned());
    }
    let directives: Vec<_> = directives.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if directives.is_empty() {
        return Err("it is empty".to_owned());
    }
    directives.join(",").parse().map_err(|error: ParseError| error.to_string())
}
