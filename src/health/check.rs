//! What a check is.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::failure::CheckFailure;
use super::heartbeat::Heartbeat;
use super::redact::Secrets;
use crate::settings::CheckSettings;

/// The component whose absence outside market hours is expected unless something else is said.
pub(super) const FEED: &str = "feed";

/// A check of one component. [`Check`] serves where what is asked is one question; this trait where there is more to it.
///
/// ```
/// use std::time::Duration;
/// use trading_telemetry::health::{CheckFailure, HealthCheck};
///
/// struct Session;
///
/// impl HealthCheck for Session {
///     fn component(&self) -> &str {
///         "broker"
///     }
///     fn is_critical(&self) -> bool {
///         true
///     }
///     fn interval(&self) -> Option<Duration> {
///         Some(Duration::from_secs(1))
///     }
///     async fn check(&self) -> Result<(), CheckFailure> {
///         std::net::TcpStream::connect("127.0.0.1:7497")?; // may even block: it has a thread for itself
///         Ok(())
///     }
/// }
/// ```
pub trait HealthCheck: Send + Sync + 'static {
    /// The component's name: broker, feed, database, redis, …
    fn component(&self) -> &str;

    /// Whether the system is not ready without the component, and a loss of it pages. (A loss of `broker` and of `feed`
    /// pages in any case.)
    fn is_critical(&self) -> bool {
        false
    }

    /// Time for one check; `None` is `health.timeout_seconds`.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Time from one check's start to the next one's; `None` is `monitoring.health_check_interval_seconds`.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Whether a loss outside `health.hours` is expected.
    fn only_in_hours(&self) -> bool {
        self.component() == FEED
    }

    /// Asks the component. Runs on a thread where it may block, inside a tokio runtime of the telemetry's; is dropped
    /// when its time is over, and not started again before it has ended. A panic is a failure. What it spawns must not block:
    /// that runs beside all checks.
    fn check(&self) -> impl Future<Output = Result<(), CheckFailure>> + Send;
}

/// The question of a [`Check`]: a ready-made one ([`Tcp`](super::Tcp), [`Http`](super::Http), …), or a closure that
/// returns a future whose error is any error or text.
pub trait Probe: Send + Sync + 'static {
    /// Asks.
    fn probe(&self) -> impl Future<Output = Result<(), CheckFailure>> + Send;
}

impl<F, Answer, E> Probe for F
where
    F: Fn() -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<(), E>> + Send,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    async fn probe(&self) -> Result<(), CheckFailure> {
        self().await.map_err(|error| CheckFailure::caused_by(&Secrets::default(), &*error.into()))
    }
}

/// A component, a question, and how often it is asked.
#[derive(Clone, Debug)]
#[must_use = "a check runs once it is added: `telemetry.health().add(check)`"]
pub struct Check<P> {
    component: String,
    probe: P,
    critical: bool,
    timeout: Option<Duration>,
    interval: Option<Duration>,
    only_in_hours: Option<bool>,
}

impl<P: Probe> Check<P> {
    /// A check that is not critical, with timeout and interval of the settings.
    pub fn new(component: impl Into<String>, probe: P) -> Self {
        let component = component.into();
        Self { component, probe, critical: false, timeout: None, interval: None, only_in_hours: None }
    }

    /// See [`HealthCheck::is_critical`].
    pub fn critical(self, critical: bool) -> Self {
        Self { critical, ..self }
    }

    /// See [`HealthCheck::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// See [`HealthCheck::interval`].
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval: Some(interval), ..self }
    }

    /// See [`HealthCheck::only_in_hours`].
    pub fn only_in_hours(self, only_in_hours: bool) -> Self {
        Self { only_in_hours: Some(only_in_hours), ..self }
    }

    pub(super) fn configured(component: &str, probe: P, settings: &CheckSettings) -> Self {
        let CheckSettings { critical, timeout, interval, only_in_hours, .. } = *settings;
        Self { component: component.to_owned(), probe, critical, timeout, interval, only_in_hours }
    }
}

impl<P: Probe> HealthCheck for Check<P> {
    fn component(&self) -> &str {
        &self.component
    }

    fn is_critical(&self) -> bool {
        self.critical
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn interval(&self) -> Option<Duration> {
        self.interval
    }

    fn only_in_hours(&self) -> bool {
        self.only_in_hours.unwrap_or(self.component == FEED)
    }

    fn check(&self) -> impl Future<Output = Result<(), CheckFailure>> + Send {
        self.probe.probe()
    }
}

/// Any check.
pub(super) trait Ask: Send + Sync {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<(), CheckFailure>> + Send + '_>>;
}

impl<C: HealthCheck> Ask for C {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<(), CheckFailure>> + Send + '_>> {
        Box::pin(self.check())
    }
}

/// What the board and the runner need of a check.
pub(super) struct Planned {
    pub(super) component: String,
    pub(super) critical: bool,
    pub(super) only_in_hours: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) interval: Option<Duration>,
    /// Time before the first check, unless its heart beats earlier.
    pub(super) delay: Duration,
    pub(super) heart: Option<Heartbeat>,
    pub(super) ask: Arc<dyn Ask>,
}

impl<C: HealthCheck> From<C> for Planned {
    fn from(check: C) -> Self {
        Self {
            component: check.component().to_owned(),
            critical: check.is_critical(),
            only_in_hours: check.only_in_hours(),
            timeout: check.timeout(),
            interval: check.interval(),
            delay: Duration::ZERO,
            heart: None,
            ask: Arc::new(check),
        }
    }
}
