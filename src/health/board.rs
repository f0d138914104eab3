//! What was found last of each component, and its metrics. Written by the runner and by reports, read by everyone; no lock
//! is held while anything waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use super::check::FEED;
use super::component::{ComponentHealth, Status};
use super::failure::CheckFailure;
use crate::clock::Clock;
use crate::lock::lock;
use crate::metrics::{Component, MAX_FREE_VALUES, MAX_VALUE_BYTES, Metrics, OTHER};
use crate::settings::{HealthSettings, Settings};

/// Components whose loss pages whether or not a check calls them critical.
const VITAL: [&str; 2] = ["broker", FEED];

/// How many intervals may pass without a result.
const STALE_AFTER: u32 = 3;

/// What the settings say about health.
#[derive(Clone, Debug)]
pub(crate) struct HealthConfig {
    pub(crate) health: HealthSettings,
    pub(crate) interval: Duration,
}

impl From<&Settings> for HealthConfig {
    fn from(settings: &Settings) -> Self {
        Self { health: settings.health.clone(), interval: settings.monitoring.health_check_interval }
    }
}

/// All components.
#[derive(Debug)]
pub(super) struct Board {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    calendar: HealthSettings,
    records: RwLock<BTreeMap<Box<str>, Arc<Record>>>,
}

/// One component.
#[derive(Debug)]
pub(super) struct Record {
    name: Box<str>,
    metrics: Arc<Component>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no states of one machine")]
struct State {
    critical: bool,
    only_in_hours: bool,
    interval: Option<Duration>,
    reported_down: bool,
    /// Whether the last check, if none was reported up since, failed.
    check_failed: bool,
    up: Option<bool>,
    by_report: bool,
    recorded: Option<Duration>,
    took: Option<Duration>,
    last_success: Option<Timestamp>,
    last_error: Option<(CheckFailure, Duration)>,
    down_since: Option<Duration>,
}

/// What changed, for the log.
enum Change {
    Lost,
    Back { down: Duration },
}

impl Board {
    pub(super) fn new(clock: Arc<dyn Clock>, metrics: Metrics, calendar: HealthSettings) -> Arc<Self> {
        Arc::new(Self { clock, metrics, calendar, records: RwLock::default() })
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The component's record. As its series, past the cap it is that of `other`.
    pub(super) fn record(&self, name: &str) -> Arc<Record> {
        if let Some(known) = self.records.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(known);
        }
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let fits = records.len() < MAX_FREE_VALUES && name.len() <= MAX_VALUE_BYTES;
        // Asked for in any case, so that a value over the cap is counted and told.
        let metrics = self.metrics.components().component(name);
        let name = if fits || records.contains_key(name) { name } else { OTHER };
        let record = records.entry(name.into()).or_insert_with(|| {
            let state = State { only_in_hours: name == FEED, ..State::default() };
            Arc::new(Record { name: name.into(), metrics, state: Mutex::new(state) })
        });
        Arc::clone(record)
    }

    /// A check has ended. A failure that no longer `holds` is none: asked with the record locked, so that nothing can
    /// be told of it in between.
    pub(super) fn checked(
        &self,
        record: &Record,
        result: Result<(), CheckFailure>,
        took: Duration,
        holds: impl FnOnce() -> bool,
    ) {
        let now = self.now();
        let mut state = record.lock();
        if result.is_err() && !holds() {
            return;
        }
        state.took = Some(took);
        record.metrics.check_duration(took.as_secs_f64());
        state.check_failed = result.is_err();
        if result.is_ok() {
            self.succeeded(record, &mut state);
        }
        let change = state.settle(record, now, result.err(), false);
        drop(state);
        self.tell(record, change.as_ref());
    }

    /// The component's owner says how it is.
    pub(super) fn reported(&self, record: &Record, result: Result<(), CheckFailure>) {
        let now = self.now();
        let mut state = record.lock();
        state.reported_down = result.is_err();
        if result.is_ok() {
            state.check_failed = false;
            self.succeeded(record, &mut state);
        }
        let change = state.settle(record, now, result.err(), true);
        drop(state);
        self.tell(record, change.as_ref());
    }

    fn succeeded(&self, record: &Record, state: &mut State) {
        let wall = self.clock.wall();
        state.last_success = Some(wall);
        record.metrics.last_success(wall.as_duration().as_secs_f64());
    }

    /// Once per change, outside the lock: writing a line may wait where the log's queue is full and must not be lossy.
    fn tell(&self, record: &Record, change: Option<&Change>) {
        let health = self.health_of(record);
        match change {
            Some(Change::Lost) => tracing::warn!(
                target: "trading_telemetry",
                component = health.name,
                error = health.last_error,
                reported = health.reported,
                pages = health.pages,
                "component_down"
            ),
            Some(Change::Back { down }) => tracing::info!(
                target: "trading_telemetry",
                component = health.name,
                down_seconds = down.as_secs_f64(),
                "component_up"
            ),
            None => {}
        }
    }

    /// What is known of each component, by name.
    pub(super) fn components(&self) -> Vec<ComponentHealth> {
        let records: Vec<Arc<Record>> =
            self.records.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        records.iter().map(|record| self.health_of(record)).collect()
    }

    pub(super) fn component(&self, name: &str) -> Option<ComponentHealth> {
        let record = self.records.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone);
        record.map(|record| self.health_of(&record))
    }

    fn health_of(&self, record: &Record) -> ComponentHealth {
        let (now, wall) = (self.now(), self.clock.wall());
        let state = record.lock();
        let age = state.recorded.map(|at| now.saturating_sub(at));
        let may_be_away = self.calendar.in_maintenance(&record.name, wall)
            || (state.only_in_hours && !self.calendar.hours.are_open(wall));
        let overdue = age.zip(state.interval).is_some_and(|(age, interval)| age > interval * STALE_AFTER);
        let status = match state.up {
            None => Status::Unknown,
            Some(false) => Status::Down,
            Some(true) if overdue => Status::Stale,
            Some(true) => Status::Up,
        };
        ComponentHealth {
            name: record.name.to_string(),
            status,
            critical: state.critical,
            may_be_away,
            pages: !may_be_away && (state.critical || VITAL.contains(&&*record.name)),
            reported: state.by_report,
            age,
            recorded: state.recorded,
            interval: state.interval,
            check_duration: state.took,
            last_success: state.last_success,
            last_error: state.last_error.as_ref().map(|(error, _)| error.to_string()),
            last_error_age: state.last_error.as_ref().map(|(_, at)| now.saturating_sub(*at)),
        }
    }
}

impl Record {
    /// Says what the component is; `interval` is how often a result is due.
    pub(super) fn describe(&self, critical: bool, only_in_hours: Option<bool>, interval: Option<Duration>) {
        let mut state = self.lock();
        state.critical = critical;
        state.interval = interval.or(state.interval);
        state.only_in_hours = only_in_hours.unwrap_or(state.only_in_hours);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Draws the conclusion of a check or report, under the lock, so that the metric ends with the newest.
    fn settle(
        &mut self,
        record: &Record,
        now: Duration,
        error: Option<CheckFailure>,
        by_report: bool,
    ) -> Option<Change> {
        let up = !self.reported_down && !self.check_failed;
        self.recorded = Some(now);
        if let Some(error) = error {
            self.last_error = Some((error, now));
        }
        let before = self.up.replace(up);
        if before != Some(up) || by_report {
            self.by_report = by_report;
        }
        record.metrics.up(up, self.by_report);
        match (before, up) {
            (Some(true) | None, false) => {
                self.down_since = Some(now);
                Some(Change::Lost)
            }
            (Some(false), true) => {
                let since = self.down_since.take().unwrap_or(now);
                Some(Change::Back { down: now.saturating_sub(since) })
            }
            _ => None,
        }
    }
}
