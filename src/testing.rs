//! Telemetry for tests: everything works, nothing is global, no port, no file, no network, and time stands still until
//! the test moves it. Any number of them run in parallel.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::Dispatch;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use crate::alerts::engine::{Offline, Policy};
use crate::alerts::event::Event;
use crate::clock::{Clock, ManualClock};
use crate::exposition::{Families, Format, Renderer, Selection};
use crate::health::HealthConfig;
use crate::init::{routes, scraper};
use crate::lock::lock;
use crate::metrics::catalog::Group;
use crate::metrics::{MetricsConfig, Readings};
use crate::orders::{self, Propagation};
use crate::server::TelemetryService;
use crate::settings::{HealthSettings, Settings};
use crate::telemetry::{Core, SHUTDOWN_DEADLINE, Telemetry};

/// Telemetry of one test.
///
/// Typed groups, meters and orders are those of a service. Spans and events are captured on the threads that run inside
/// [`Self::run`].
///
/// ```
/// use trading_telemetry::testing::TestTelemetry;
///
/// let telemetry = TestTelemetry::new();
/// telemetry.run(|| {
///     let _order = telemetry.order("abc123").symbol("AAPL").span("submit_order").entered();
///     telemetry.metrics().execution().fill_latency_ms(1250.0);
/// });
/// assert_eq!(telemetry.spans()[0].name, "submit_order");
/// assert!(telemetry.scrape_openmetrics().contains("order_id=\"abc123\""));
/// ```
///
/// Alerts are decided when the test asks for it, at the test's time:
///
/// ```
/// use std::time::Duration;
/// use trading_telemetry::alerts::event::{AlertSeverity, EventKind};
/// use trading_telemetry::testing::TestTelemetry;
///
/// let telemetry = TestTelemetry::new();
/// telemetry.audit().kill_switch_on("VIX > 35", [("vix", 38.5.into())]);
/// let events = telemetry.evaluate_alerts();
/// assert_eq!((events[0].kind, events[0].severity), (EventKind::Opened, AlertSeverity::Critical));
/// assert_eq!((events[0].title.as_str(), events[0].message.as_str()), ("Kill Switch Activated", "VIX > 35"));
///
/// telemetry.clock().advance(Duration::from_secs(90));
/// telemetry.audit().kill_switch_off("all clear");
/// let events = telemetry.evaluate_alerts();
/// assert_eq!((events[0].kind, events[0].duration.as_secs()), (EventKind::Resolved, 90));
/// assert!(telemetry.alerts().open_incidents().is_empty());
/// ```
#[derive(Debug)]
pub struct TestTelemetry {
    telemetry: Telemetry,
    readings: Readings,
    clock: Arc<ManualClock>,
    spans: Captured,
    dispatch: Dispatch,
    engine: Mutex<Offline>,
    /// Kept between scrapes with the readings, as the server keeps its own.
    renderer: Mutex<Renderer>,
}

/// Settings of a [`TestTelemetry`].
#[derive(Clone, Debug)]
#[must_use = "nothing is set up before `build`"]
pub struct TestTelemetryBuilder {
    version: String,
    environment: String,
    broker: String,
    groups: Vec<Group>,
    max_strategies: usize,
    health: HealthSettings,
    alert_rules: Option<String>,
}

impl Default for TestTelemetryBuilder {
    fn default() -> Self {
        Self {
            version: "0.0.0".into(),
            environment: "test".into(),
            broker: "paper".into(),
            groups: Group::ALL.to_vec(),
            max_strategies: 64,
            health: HealthSettings::default(),
            alert_rules: None,
        }
    }
}

impl TestTelemetryBuilder {
    /// `system.version`.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// `system.environment`.
    pub fn environment(mut self, environment: &str) -> Self {
        environment.clone_into(&mut self.environment);
        self
    }

    /// `system.broker`.
    pub fn broker(mut self, broker: &str) -> Self {
        broker.clone_into(&mut self.broker);
        self
    }

    /// `metrics.groups`.
    pub fn groups(mut self, groups: impl IntoIterator<Item = Group>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// `metrics.max_strategies`.
    pub fn max_strategies(mut self, max_strategies: usize) -> Self {
        self.max_strategies = max_strategies;
        self
    }

    /// The section `health`; its checks start at once.
    pub fn health(mut self, health: HealthSettings) -> Self {
        self.health = health;
        self
    }

    /// The text of an `alerts.yaml`, over the built-in rules.
    pub fn alert_rules(mut self, text: &str) -> Self {
        self.alert_rules = Some(text.to_owned());
        self
    }

    /// Sets it up.
    ///
    /// # Panics
    ///
    /// As [`TestTelemetry::new`], and where the alert rules have a mistake: the message shows it.
    pub fn build(self) -> TestTelemetry {
        TestTelemetry::build(self)
    }
}

#[derive(Clone, Debug, Default)]
struct Captured(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Captured {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        lock(&self.0).extend(batch);
        Ok(())
    }
}

impl TestTelemetry {
    /// Telemetry with the default settings, at noon UTC of 15 March 2024.
    ///
    /// # Panics
    ///
    /// Where a check of [`TestTelemetryBuilder::health`] cannot be made.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Telemetry with settings of the test's own.
    pub fn builder() -> TestTelemetryBuilder {
        TestTelemetryBuilder::default()
    }

    #[expect(clippy::expect_used, reason = "a test wants to fail where it stands")]
    fn build(settings: TestTelemetryBuilder) -> Self {
        let noon = Timestamp::from_second(1_710_504_000).expect("a valid time");
        let clock = Arc::new(ManualClock::new(noon));
        let spans = Captured::default();
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let config = MetricsConfig {
            resource: Resource::builder_empty().with_service_name("test").build(),
            groups: settings.groups,
            max_strategies: settings.max_strategies,
            version: settings.version,
            environment: settings.environment,
            broker: settings.broker,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            exported: false,
        };
        let interval = Settings::default().monitoring.health_check_interval;
        let health = HealthConfig { health: settings.health, interval };
        let core = Core::new("test", config, health).expect("OpenTelemetry is set up");
        let core = core.with_tracers((tracers, Propagation::default()));
        let dispatch = Dispatch::new(Registry::default().with(orders::layer(&core.tracers)));
        let mounted = routes(&core, &scraper(&core), None, Families::default());
        let service = TelemetryService::new(Arc::new(mounted));
        let checks = core.health.plan().expect("the checks are good");
        core.health.start(checks);
        let rules = settings.alert_rules.as_deref().map(|text| ("alerts.yaml", text));
        let policy = Policy::new(rules, &Settings::default(), core.components())
            .unwrap_or_else(|error| panic!("{error}"));
        let (alerts, engine) = Offline::new(&policy, core.readings(), Arc::clone(&core.clock));
        let readings = core.readings();
        let telemetry =
            Telemetry::assemble(core, alerts, None, service, Vec::new(), Vec::new(), SHUTDOWN_DEADLINE);
        Self {
            telemetry,
            readings,
            clock,
            spans,
            dispatch,
            engine: Mutex::new(engine),
            renderer: Mutex::default(),
        }
    }

    /// Runs `work` with this telemetry's spans and events current on the calling thread.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, work)
    }

    /// The subscriber of this telemetry, for threads and runtimes of the test's own.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// The clock that this telemetry reads.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The spans that have ended so far.
    pub fn spans(&self) -> Vec<SpanData> {
        lock(&self.spans.0).clone()
    }

    /// Takes the direct alerts and evaluates every rule, at the clock's time: what there is to tell since the last call.
    /// Silences that were set since then are in force; what awaits [`Alerts::end_silence`](crate::alerts::Alerts::end_silence)
    /// goes on after this call.
    pub fn evaluate_alerts(&self) -> Vec<Event> {
        lock(&self.engine).evaluate()
    }

    /// What `GET /metrics` answers in text 0.0.4.
    pub fn scrape(&self) -> String {
        self.render(Format::Text)
    }

    /// What `GET /metrics` answers in OpenMetrics 1.0.0.
    pub fn scrape_openmetrics(&self) -> String {
        self.render(Format::OpenMetrics)
    }

    fn render(&self, format: Format) -> String {
        let collected = self.readings.collect();
        let mut renderer = lock(&self.renderer);
        let body = renderer.render(&collected, &Selection::all(), format);
        String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl Default for TestTelemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl std::ops::Deref for TestTelemetry {
    type Target = Telemetry;

    fn deref(&self) -> &Telemetry {
        &self.telemetry
    }
}
