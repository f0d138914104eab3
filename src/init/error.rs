//! Why the telemetry did not start.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;

use crate::alerts::engine::EngineError;
use crate::health::CheckError;
use crate::logs::LogError;
use crate::otlp::OtlpError;
use crate::settings::SettingsError;

/// Why the telemetry did not start.
///
/// `Debug` is what a person reads, causes and all: it is what a `main` that returns the error prints.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct InitError(#[from] pub(super) Kind);

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
pub(super) enum Kind {
    #[error(
        "the telemetry of this process was started before: keep the handle that the first call returned and clone it"
    )]
    AlreadyStarted,
    #[error(
        "another tracing subscriber is in place: add `.with(trading_telemetry::layer())` to it, or remove its init() call"
    )]
    ForeignSubscriber,
    #[error(
        "the tracing subscriber that is in place makes OpenTelemetry spans itself: take its tracing_opentelemetry layer out, \
         `trading_telemetry::layer()` makes them"
    )]
    ForeignTracer,
    #[error(transparent)]
    Settings(SettingsError),
    #[error(transparent)]
    Alerts(EngineError),
    #[error("cannot log")]
    Logs(#[source] LogError),
    #[error("a health check of the settings cannot be made")]
    Health(#[source] CheckError),
    #[error(transparent)]
    Otlp(OtlpError),
    #[error("OpenTelemetry cannot be set up")]
    OpenTelemetry(#[source] opentelemetry_sdk::error::OTelSdkError),
    #[error("no thread for the metrics server can be started, raise the limit of threads")]
    Server(#[source] std::io::Error),
    #[error(
        "the metrics address {address} cannot be bound ({error}) and monitoring.required is set: {remedy}"
    )]
    PortRequired { address: SocketAddr, error: String, remedy: &'static str },
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

    /// Whether another `tracing` subscriber is in place, without [`layer`](crate::layer) or with one that makes
    /// OpenTelemetry spans beside it.
    pub fn is_foreign_subscriber(&self) -> bool {
        matches!(self.0, Kind::ForeignSubscriber | Kind::ForeignTracer)
    }

    /// Whether a required address could not be bound.
    pub fn is_port_unavailable(&self) -> bool {
        matches!(self.0, Kind::PortRequired { .. })
    }
}
