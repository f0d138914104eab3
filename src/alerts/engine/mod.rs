//! The engine: reads the metrics, evaluates the rules, records what there is to tell and has it delivered.
//!
//! It has a thread and a runtime of its own, and never blocks a recording, a scrape or a caller.

mod audit_loss;
mod components;
mod config;
mod handle;
mod heartbeat;
mod inbox;
mod offline;
mod routes;
mod run;
mod samples;
mod silences;
mod subscribers;
mod view;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_sdk::metrics::data::ResourceMetrics;

use crate::alerts::channels::Channel;
use crate::alerts::delivery::Routes;
use crate::alerts::direct::DirectAlert;
use crate::alerts::evaluation::{Evaluator, Moment, Notice, Outcome, Scope, StoredIncident};
use crate::alerts::event::Event;
use crate::alerts::incident::Hours;
use crate::alerts::message::Origin;
use crate::clock::Clock;
use crate::metrics::catalog;
use crate::metrics::{Catalogue, Metrics, Readings};
use crate::settings::HealthSettings;
use samples::{Samples, Taken};

pub(crate) use components::{ComponentFacts, Components};
pub use config::test_channel;
pub(crate) use config::{EngineConfig, EngineError, Policy};
pub use handle::Alerts;
pub(crate) use offline::Offline;
pub(crate) use routes::mount;
pub(crate) use run::{AlertsSignal, AuditLost, prepare};
pub use view::IncidentView;
pub(crate) use view::View;

/// The deciding half, without a thread: what an evaluation reads, and what it comes to.
pub(crate) struct Core {
    pub(crate) evaluator: Evaluator,
    metrics: Metrics,
    readings: Readings,
    health: HealthSettings,
    components: Components,
    clock: Arc<dyn Clock>,
    view: View,
    collected: Catalogue,
    open_since: Option<Duration>,
    /// Watched metrics that are not in the catalogue.
    foreign: Vec<String>,
}

impl Core {
    pub(crate) fn new(
        policy: &Policy,
        readings: Readings,
        clock: Arc<dyn Clock>,
        view: View,
        stored: Vec<StoredIncident>,
    ) -> (Self, Vec<Event>) {
        let (health, components) = (policy.health.clone(), policy.components.clone());
        let metrics = readings.metrics().clone();
        let moment = Moment::new(clock.monotonic(), clock.wall());
        // Two processes of one service must not give two incidents one id.
        let sequence = u64::from(std::process::id()) << 32;
        let (evaluator, ended) = Evaluator::new(&policy.rules, policy.tuning, sequence, moment, stored);
        let foreign =
            evaluator.metrics().filter(|name| catalog::find(name).is_none()).map(str::to_owned).collect();
        let collected = Catalogue::default();
        let core = Self {
            evaluator,
            metrics,
            readings,
            health,
            components,
            clock,
            view,
            collected,
            open_since: None,
            foreign,
        };
        (core, ended)
    }

    /// Whether a rule watches an instrument of the service's own.
    fn watches_foreign(&self) -> bool {
        !self.foreign.is_empty()
    }

    /// This moment, by the clocks and the market's hours.
    pub(crate) fn moment(&mut self) -> Moment {
        let (monotonic, wall) = (self.clock.monotonic(), self.clock.wall());
        let hours = if self.health.hours.timezone.is_none() {
            Hours::Unset
        } else if self.health.hours.are_open(wall) {
            Hours::Open { since: *self.open_since.get_or_insert(monotonic) }
        } else {
            self.open_since = None;
            Hours::Closed
        };
        Moment { monotonic, wall, hours }
    }

    /// Evaluates the rules on the values that wake the engine, from their latches and without a collection.
    ///
    /// `inbox` gives the direct alerts. It is asked after the latches: whoever changes a value has sent its text before,
    /// so that no change is seen without the text that belongs to it.
    pub(crate) fn evaluate_latched(&mut self, inbox: impl FnOnce() -> Vec<DirectAlert>) -> Vec<Event> {
        let taken = Taken::take(&self.metrics);
        let mut events = self.direct(inbox());
        let moment = self.moment();
        let samples = samples(&self.metrics, &self.components, moment);
        let mut pass = self.evaluator.begin(moment, Scope::Some);
        samples.latched(&mut pass, taken);
        let outcome = pass.finish();
        events.extend(self.conclude(outcome, moment, None));
        events
    }

    /// Evaluates all rules. `inbox` is as above, `foreign` a collection of the service's own instruments, where a rule watches one.
    pub(crate) fn evaluate(
        &mut self,
        inbox: impl FnOnce() -> Vec<DirectAlert>,
        foreign: Option<&ResourceMetrics>,
    ) -> Vec<Event> {
        let began = Instant::now();
        let now = self.clock.monotonic();
        // Before the values: one that counts as recorded is then no start-up 0.
        for metric in self.evaluator.metrics() {
            self.metrics.registry().mark(metric, now);
        }
        self.readings.collect_catalogue(&mut self.collected);
        // After the collection, so that what it holds of them is never newer.
        let taken = Taken::take(&self.metrics);
        let mut events = self.direct(inbox());
        let moment = self.moment();
        let samples = samples(&self.metrics, &self.components, moment);
        let mut pass = self.evaluator.begin(moment, Scope::All);
        let latched: HashSet<_> = samples.latched(&mut pass, taken);
        samples.catalogue(&mut pass, &self.collected, &latched);
        if !self.foreign.is_empty() {
            samples::foreign(&mut pass, foreign, &self.foreign);
        }
        let outcome = pass.finish();
        events.extend(self.conclude(outcome, moment, Some(began.elapsed())));
        events
    }

    /// Gives channels that come into use the open incidents that go to them.
    pub(crate) fn resume(&mut self, channels: &[Arc<dyn Channel>], routes: &Routes, origin: &Arc<Origin>) {
        let moment = self.moment();
        let open = self.evaluator.restated(moment);
        for channel in channels {
            let is_for_it = |event: &&Event| routes.lead_to(channel.name(), event);
            let own = open.iter().filter(is_for_it).cloned().collect();
            Arc::clone(channel).resume(own, origin);
        }
    }

    /// Takes alerts that the service sends by itself.
    pub(crate) fn direct(&mut self, alerts: impl IntoIterator<Item = DirectAlert>) -> Vec<Event> {
        let moment = self.moment();
        let events: Vec<Event> =
            alerts.into_iter().flat_map(|alert| self.evaluator.direct(alert, moment)).collect();
        self.view.told(&events);
        events
    }

    fn conclude(&mut self, outcome: Outcome, moment: Moment, took: Option<Duration>) -> Vec<Event> {
        let Outcome { events, notices } = outcome;
        self.tell(notices);
        if took.is_some() || !events.is_empty() {
            let metrics = &self.metrics;
            self.view.evaluated(&self.evaluator, moment, took, |metric| is_owned(metrics, metric));
        }
        self.view.told(&events);
        events
    }

    fn tell(&self, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::NeverAppeared { rule, metric } if is_owned(&self.metrics, &metric) => tracing::warn!(
                    target: "trading_telemetry",
                    rule, metric,
                    hint = "no series of the metric has appeared yet; record it, or correct the rule",
                    "alert_rule_blind"
                ),
                Notice::PartlyBlind { rule, metric } => tracing::warn!(
                    target: "trading_telemetry",
                    rule, metric,
                    hint = "the metric has more label sets than its cardinality limit; give it fewer",
                    "alert_rule_partly_blind"
                ),
                Notice::NeverAppeared { .. } => {}
            }
        }
    }
}

fn samples<'a>(metrics: &'a Metrics, components: &'a Components, moment: Moment) -> Samples<'a> {
    Samples { metrics, components, monotonic: moment.monotonic }
}

/// The names of all rules.
fn rule_names(policy: &Policy) -> Vec<String> {
    policy.rules.iter().map(|rule| rule.name.clone()).collect()
}

/// The names of the rules that are for this process to evaluate.
fn owned_rules(policy: &Policy, metrics: &Metrics) -> impl Iterator<Item = String> {
    policy.rules.iter().filter(|rule| is_owned(metrics, &rule.metric)).map(|rule| rule.name.clone())
}

/// Whether the metric is for this process to watch: another one owns what its groups leave out.
fn is_owned(metrics: &Metrics, metric: &str) -> bool {
    catalog::find(metric).is_none_or(|row| metrics.registry().is_published(row.group))
}
