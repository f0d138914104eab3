//! What the engine shows of itself: `/alerts`, and the `trading_alert_…` families.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::alerts::channels::LogChannel;
use crate::alerts::delivery::{ChannelStats, DeliveryResult, QueueSnapshot};
use crate::alerts::evaluation::{Evaluator, Moment};
use crate::alerts::event::{AlertSeverity, Event, Reason};
use crate::alerts::silence::Silence;
use crate::lock::lock;
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::{Distribution, Registry};

const ALERTS: &Instrument = catalog::named("trading_alerts_total");
const OPEN: &Instrument = catalog::named("trading_alert_incidents_open");
const RULE_STATE: &Instrument = catalog::named("trading_alert_rule_state");
const EVALUATION: &Instrument = catalog::named("trading_alert_evaluation_duration_seconds");
const CHANNEL_UP: &Instrument = catalog::named("trading_alert_channel_up");
const QUEUE: &Instrument = catalog::named("trading_alert_queue_length");
const OLDEST: &Instrument = catalog::named("trading_alert_oldest_unsent_seconds");
const SEND: &Instrument = catalog::named("trading_alert_send_duration_seconds");

/// How many ended or changed incidents are remembered for a person who looks.
const RECENT: usize = 100;

/// An open incident, for a person who looks.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct IncidentView {
    /// Its id.
    pub incident: String,
    /// Its rule.
    pub rule: String,
    /// Its severity now.
    pub severity: Option<AlertSeverity>,
    /// The labels of its series.
    pub labels: Vec<(String, String)>,
    /// The last value.
    pub value: Option<f64>,
    /// The worst value.
    pub worst: Option<f64>,
    /// When it began.
    pub since: Timestamp,
    /// How long it has lasted, in seconds.
    pub duration_seconds: f64,
    /// Why, where it is not the value: `no data`, `stale`, `invalid`.
    pub reason: Option<&'static str>,
    /// Whether a silence mutes it.
    pub muted: bool,
    /// Whether nobody can tell at present if it still holds.
    pub blind: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    open: Vec<IncidentView>,
    open_by_severity: [usize; 3],
    recent: VecDeque<Event>,
    rules: Vec<(String, i8)>,
    evaluation_seconds: f64,
    stats: Vec<Arc<ChannelStats>>,
    queues: Vec<(&'static str, QueueSnapshot)>,
    silences: Vec<Silence>,
}

/// The engine's face: written after each evaluation, read by scrapes and people.
#[derive(Clone, Debug, Default)]
pub(crate) struct View(Arc<Mutex<State>>);

impl View {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Shows rules and channels of which nothing is known yet.
    pub(super) fn begin(
        &self,
        rules: impl Iterator<Item = String>,
        channels: impl Iterator<Item = &'static str>,
    ) {
        const BLIND: i8 = -1;
        let names = std::iter::once(LogChannel::NAME).chain(channels);
        let mut state = self.lock();
        state.stats = names.map(|name| Arc::new(ChannelStats::new(name))).collect();
        state.queues =
            state.stats.iter().skip(1).map(|stats| (stats.name(), QueueSnapshot::default())).collect();
        state.rules = rules.map(|rule| (rule, BLIND)).collect();
    }

    /// Shows what an evaluation came to.
    pub(super) fn evaluated(
        &self,
        evaluator: &Evaluator,
        moment: Moment,
        took: Option<Duration>,
        owned: impl Fn(&str) -> bool,
    ) {
        let open = evaluator
            .open(moment)
            .map(|open| IncidentView {
                incident: open.incident.id.clone(),
                rule: open.rule.name.clone(),
                severity: open.incident.severity,
                labels: open.labels.to_vec(),
                value: open.incident.value,
                worst: open.incident.worst,
                since: open.incident.since,
                duration_seconds: open.duration.as_secs_f64(),
                reason: open.incident.reason.map(Reason::as_str),
                muted: open.is_muted,
                blind: open.is_blind,
            })
            .collect();
        let rules = evaluator
            .rule_states()
            .filter(|(rule, _)| owned(&rule.metric))
            .map(|(rule, state)| (rule.name.clone(), state.value))
            .collect();
        let open_by_severity = evaluator.open_by_severity();
        let silences = evaluator.silences().in_force(moment.wall).cloned().collect();
        let mut shown = self.lock();
        shown.open = open;
        shown.rules = rules;
        shown.open_by_severity = open_by_severity;
        shown.silences = silences;
        if let Some(took) = took {
            shown.evaluation_seconds = took.as_secs_f64();
        }
    }

    /// Shows what was told.
    pub(super) fn told(&self, events: &[Event]) {
        let mut state = self.lock();
        state.recent.extend(events.iter().cloned());
        let excess = state.recent.len().saturating_sub(RECENT);
        state.recent.drain(..excess);
    }

    /// Shows the channels.
    pub(super) fn channels(
        &self,
        channels: Vec<Arc<ChannelStats>>,
        queues: Vec<(&'static str, QueueSnapshot)>,
    ) {
        let mut state = self.lock();
        state.stats = channels;
        state.queues = queues;
    }

    /// Shows the silences that are in force from now on.
    pub(super) fn silenced<'a>(&self, silences: impl Iterator<Item = &'a Silence>) {
        self.lock().silences = silences.cloned().collect();
    }

    /// The body of `/alerts/silences`.
    pub(super) fn silences_json(&self) -> String {
        let silences = self.lock().silences.clone();
        let silences: Vec<_> = silences
            .iter()
            .map(|silence| {
                serde_json::json!({
                    "id": silence.id,
                    "rule": silence.rule,
                    "labels": silence.matchers.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "until": silence.until,
                    "comment": silence.comment,
                })
            })
            .collect();
        serde_json::json!({ "silences": silences }).to_string()
    }

    /// The open incidents.
    pub(super) fn open(&self) -> Vec<IncidentView> {
        self.lock().open.clone()
    }

    /// How many notifications of a severity were sent, over all channels but the log.
    pub(super) fn sent(&self, severity: AlertSeverity) -> u64 {
        let sent = |stats: &Arc<ChannelStats>| stats.count(severity, DeliveryResult::Sent);
        self.lock().stats.iter().filter(|stats| stats.name() != LogChannel::NAME).map(sent).sum()
    }

    /// The body of `/alerts`.
    pub(crate) fn json(&self) -> String {
        let shown = self.lock().clone();
        let channels: Vec<_> = shown
            .stats
            .iter()
            .map(|stats| {
                let queue = shown.queues.iter().find(|(name, _)| *name == stats.name()).map(|(_, queue)| queue);
                serde_json::json!({
                    "channel": stats.name(),
                    "up": stats.is_up(),
                    "attempts": stats.attempts(),
                    "sent": AlertSeverity::ALL.iter().map(|s| stats.count(*s, DeliveryResult::Sent)).sum::<u64>(),
                    "queued": queue.map_or(0, |queue| queue.length),
                    "oldest_unsent_seconds": queue.and_then(|queue| queue.oldest).map(|age| age.as_secs_f64()),
                })
            })
            .collect();
        let recent: Vec<_> = shown
            .recent
            .iter()
            .rev()
            .map(|event| {
                serde_json::json!({
                    "at": event.at,
                    "kind": event.kind.as_str(),
                    "severity": event.severity,
                    "rule": event.rule,
                    "incident": event.incident,
                    "title": event.title,
                    "message": event.message,
                    "order_id": event.order_id,
                    "silenced": event.silenced,
                })
            })
            .collect();
        let rules: Vec<_> = shown
            .rules
            .iter()
            .map(|(rule, value)| serde_json::json!({ "rule": rule, "state": value }))
            .collect();
        serde_json::json!({
            "open": shown.open,
            "recent": recent,
            "rules": rules,
            "channels": channels,
            "silences": shown.silences.iter().map(|silence| &silence.id).collect::<Vec<_>>(),
            "evaluation_duration_seconds": shown.evaluation_seconds,
        })
        .to_string()
    }

    /// Puts the engine's families on the scrape.
    pub(super) fn observe(&self, registry: &Registry) {
        let view = self.clone();
        registry.observe(ALERTS, move |observer| {
            for stats in view.lock().stats.clone() {
                for severity in AlertSeverity::ALL {
                    for result in DeliveryResult::ALL {
                        let labels = [severity.as_str(), stats.name(), result.as_str()];
                        observer(&labels, float(stats.count(severity, result)));
                    }
                }
            }
        });
        let view = self.clone();
        registry.observe(OPEN, move |observer| {
            let counts = view.lock().open_by_severity;
            for severity in AlertSeverity::ALL {
                observer(&[severity.as_str()], float(counts[severity as usize] as u64));
            }
        });
        let view = self.clone();
        registry.observe(RULE_STATE, move |observer| {
            for (rule, value) in &view.lock().rules {
                observer(&[rule], f64::from(*value));
            }
        });
        let view = self.clone();
        registry.observe(EVALUATION, move |observer| observer(&[], view.lock().evaluation_seconds));
        let view = self.clone();
        registry.observe(CHANNEL_UP, move |observer| {
            for stats in &view.lock().stats {
                observer(&[stats.name()], f64::from(u8::from(stats.is_up())));
            }
        });
        let view = self.clone();
        registry.observe(QUEUE, move |observer| {
            for (channel, queue) in &view.lock().queues {
                observer(&[channel], float(queue.length as u64));
            }
        });
        let view = self.clone();
        registry.observe(OLDEST, move |observer| {
            for (channel, queue) in &view.lock().queues {
                observer(&[channel], queue.oldest.map_or(0.0, |age| age.as_secs_f64()));
            }
        });
    }
}

/// Where a channel's request times are recorded.
pub(super) fn send_durations(registry: &Registry, channel: &str) -> Distribution {
    registry.distribution(SEND, &[channel])
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
