//! The handle: `telemetry.health()`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::board::{Board, HealthConfig};
use super::check::{Check, HealthCheck, Planned};
use super::checks;
use super::component::ComponentHealth;
use super::failure::{CheckError, CheckFailure};
use super::heartbeat::Heartbeat;
use super::runner::{Job, Runner};
use crate::clock::Clock;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::settings::{CheckKind, CheckSettings};
use crate::shutdown::{Signal, SignalOutcome};

/// The bounds of every time, as in the settings: a tick of zero would panic, and so would a sum with a time without end.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_hours(87_600);

/// What a service knows of a component before any check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// It works.
    Up,
    /// It is lost, for this reason.
    Down(&'a str),
}

/// The health of the components: see [the module](crate::health). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Arc<str>,
    board: Arc<Board>,
    config: HealthConfig,
    running: Mutex<Running>,
    heartbeats: Mutex<HashMap<String, Heartbeat>>,
}

/// The thread exists once there is something to check.
#[derive(Debug)]
enum Running {
    NotYet,
    Yes(Runner),
    Ended,
}

impl Health {
    pub(crate) fn new(
        service: &Arc<str>,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
        config: HealthConfig,
    ) -> Self {
        let board = Board::new(Arc::clone(clock), metrics.clone(), config.health.clone());
        Self(Arc::new(Inner {
            service: Arc::clone(service),
            board,
            config,
            running: Mutex::new(Running::NotYet),
            heartbeats: Mutex::default(),
        }))
    }

    /// The service's name.
    pub(super) fn service(&self) -> &str {
        &self.0.service
    }

    /// Checks a component from now on, in place of an earlier check of the same name, the settings' included.
    pub fn add(&self, check: impl HealthCheck) {
        self.run(check.into());
    }

    /// The component's sign of life: that of `health.checks` or of [`add_heartbeat`](Self::add_heartbeat), else a new one
    /// that is late after five seconds and not critical.
    pub fn heartbeat(&self, component: &str) -> Heartbeat {
        // Held until the new one is checked: of two threads that ask first, neither may beat for nobody.
        let mut known = lock(&self.0.heartbeats);
        if let Some(heartbeat) = known.get(component) {
            return heartbeat.clone();
        }
        let (heartbeat, planned) = self.plan_heartbeat(&mut known, component, &CheckSettings::default());
        self.run(planned);
        heartbeat
    }

    /// A component that lives while it beats: lost after a silence of `late_after`, also one from the start on.
    pub fn add_heartbeat(&self, component: &str, late_after: Duration, critical: bool) -> Heartbeat {
        let settings = CheckSettings { late_after, critical, ..CheckSettings::default() };
        let mut known = lock(&self.0.heartbeats);
        let (heartbeat, planned) = self.plan_heartbeat(&mut known, component, &settings);
        self.run(planned);
        heartbeat
    }

    /// A component that nothing checks and that reports itself: whether the system is not ready without it, and a loss
    /// of it pages.
    pub fn declare(&self, component: &str, critical: bool) {
        self.0.board.record(component).describe(critical, None, None);
    }

    /// Says how a component is, at once: its metric changes and, if this is news, the alerts wake. Takes a lock for less
    /// than a microsecond, and where it is news a log line and a system call. Secrets are taken out of the reason as in a
    /// [`CheckFailure`].
    pub fn report(&self, component: &str, report: Report<'_>) {
        let result = match report {
            Report::Up => Ok(()),
            Report::Down(reason) => Err(CheckFailure::new(reason)),
        };
        let board = &self.0.board;
        board.reported(&board.record(component), result);
    }

    /// What is known of each component, by name. Asks nobody.
    pub fn components(&self) -> Vec<ComponentHealth> {
        self.0.board.components()
    }

    /// What is known of a component; `None` where nobody has spoken of it.
    pub fn component(&self, name: &str) -> Option<ComponentHealth> {
        self.0.board.component(name)
    }

    /// Whether every critical component is up, or may be away now: what `/ready` answers.
    pub fn is_ready(&self) -> bool {
        self.components().iter().all(ComponentHealth::is_ready)
    }

    /// The checks of the settings, made but not running.
    pub(crate) fn plan(&self) -> Result<Plan, CheckError> {
        let plan = self.0.config.health.checks.iter().map(|(component, settings)| {
            if settings.kind == Some(CheckKind::Heartbeat) {
                return Ok(self.plan_heartbeat(&mut lock(&self.0.heartbeats), component, settings).1);
            }
            checks::planned(component, settings).map_err(|error| CheckError::of(component, error))
        });
        plan.collect::<Result<_, _>>().map(Plan)
    }

    /// Runs the checks of the settings.
    pub(crate) fn start(&self, plan: Plan) {
        plan.0.into_iter().for_each(|planned| self.run(planned));
    }

    fn plan_heartbeat(
        &self,
        known: &mut HashMap<String, Heartbeat>,
        component: &str,
        settings: &CheckSettings,
    ) -> (Heartbeat, Planned) {
        let board = &self.0.board;
        let heartbeat = Heartbeat::new(Arc::clone(board), board.record(component), settings.late_after);
        known.insert(component.to_owned(), heartbeat.clone());
        let interval = settings.interval.unwrap_or_else(|| Heartbeat::interval(settings.late_after));
        let check = Check::configured(component, heartbeat.clone(), settings).interval(interval);
        let planned = Planned { delay: settings.late_after, heart: Some(heartbeat.clone()), ..check.into() };
        (heartbeat, planned)
    }

    fn run(&self, planned: Planned) {
        let Inner { board, config, running, .. } = &*self.0;
        let timeout = planned.timeout.unwrap_or(config.health.timeout).clamp(SHORTEST, LONGEST);
        let interval = planned.interval.unwrap_or(config.interval).clamp(SHORTEST, LONGEST);
        let record = board.record(&planned.component);
        record.describe(planned.critical, Some(planned.only_in_hours), Some(interval.max(timeout)));
        let Planned { component, delay, heart, ask, .. } = planned;
        let delay = delay.min(LONGEST);
        let job = Job { board: Arc::clone(board), record, component, timeout, interval, delay, heart, ask };

        let mut running = lock(running);
        if matches!(*running, Running::NotYet) {
            match Runner::start() {
                Ok(runner) => *running = Running::Yes(runner),
                Err(error) => tracing::error!(
                    target: "trading_telemetry",
                    component = job.component,
                    %error,
                    hint = "raise the limit of threads",
                    "health_check_not_started"
                ),
            }
        }
        if let Running::Yes(runner) = &*running {
            runner.watch(job);
        }
    }

    /// Ends all checks; what they found stays.
    fn stop(&self) {
        *lock(&self.0.running) = Running::Ended;
    }
}

/// Checks that were found good and wait for their start.
pub(crate) struct Plan(Vec<Planned>);

/// The health's part in the shutdown.
pub(crate) struct HealthSignal(pub(crate) Health);

impl Signal for HealthSignal {
    fn name(&self) -> &'static str {
        "health"
    }

    fn shutdown(&self, _: Duration) -> SignalOutcome {
        self.0.stop();
        SignalOutcome::default()
    }
}
