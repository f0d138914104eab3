//! The engine's thread.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use opentelemetry_sdk::metrics::data::ResourceMetrics;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::audit_loss::AuditLoss;
use super::config::{ChannelSettings, EngineConfig, EngineError};
use super::handle::{Alerts, Command, Commands, Shared};
use super::heartbeat::Heart;
use super::silences::SilenceSources;
use super::{Core, owned_rules, rule_names, view};
use crate::alerts::channels::HttpSettings;
use crate::alerts::delivery::{Delivery, Drained, Record, Routes};
use crate::alerts::direct::StoredWindow;
use crate::alerts::evaluation::{StoredAlert, StoredIncident};
use crate::alerts::event::{AlertSeverity, Event, EventKind};
use crate::alerts::message::Origin;
use crate::alerts::outbox::{Opened, Outbox, Table};
use crate::background;
use crate::clock::Clock;
use crate::metrics::{Distribution, Readings};
use crate::shutdown::{Signal, SignalOutcome};
use crate::told::ToldOf;

/// How often open incidents are stored while nothing happens: the next process continues from there.
const STORE_EVERY: Duration = Duration::from_mins(1);

/// How long the start waits for the outbox: longer than the repair after a SIGKILL takes.
const OPENING: Duration = Duration::from_millis(500);

/// An engine that can be started: everything that can fail has been done.
pub(crate) struct Prepared {
    config: EngineConfig,
    heart: Option<Heart>,
    readings: Readings,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    commands: Commands,
    audit_lost: AuditLost,
    durations: Vec<(&'static str, Distribution)>,
}

/// Reads how many audit lines were lost so far.
pub(crate) type AuditLost = Box<dyn Fn() -> u64 + Send>;

/// Checks what the engine needs; what is wrong with a channel is an error of the start, not of the first alert.
pub(crate) fn prepare(
    config: EngineConfig,
    readings: Readings,
    clock: Arc<dyn Clock>,
    audit_lost: AuditLost,
) -> Result<(Alerts, Prepared), EngineError> {
    let channels = config.channels.build(&config.http, &clock)?;
    let heart = config.heartbeat.as_ref().map(|heartbeat| Heart::new(heartbeat, &config.http)).transpose()?;
    let (alerts, commands) = Alerts::new();
    let shared = Arc::clone(&alerts.shared);
    // On the scrape from the first one on, however long the outbox takes to open.
    let metrics = readings.metrics();
    shared.view.observe(metrics.registry());
    // A handle that is new has none yet.
    let _ = shared.rules.set(rule_names(&config.policy));
    shared.view.begin(owned_rules(&config.policy, metrics), channels.iter().map(|channel| channel.name()));
    let durations = channels
        .iter()
        .map(|channel| (channel.name(), view::send_durations(metrics.registry(), channel.name())))
        .collect();
    Ok((alerts, Prepared { config, heart, readings, clock, shared, commands, audit_lost, durations }))
}

impl Prepared {
    /// Opens the outbox, takes up what an earlier process left, and evaluates from now on. Waits for the outbox, since
    /// an alert of before would be in memory alone, but never long: a disk may hang.
    pub(crate) fn start(self) -> Result<(), EngineError> {
        let (open, opened) = mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(EngineError::Thread)?;
        let woken = Arc::downgrade(&self.shared);
        self.readings.metrics().waker().set(move || {
            if let Some(shared) = woken.upgrade() {
                shared.wake.notify_one();
            }
        });
        background::spawn("telemetry-alerts", move || {
            let config = &self.config;
            let (outbox, opened) = Outbox::open(&config.outbox);
            let (mut core, ended) = Core::new(
                &config.policy,
                self.readings.clone(),
                Arc::clone(&self.clock),
                self.shared.view.clone(),
                stored_incidents(&opened),
            );
            let moment = core.moment();
            core.evaluator.restore_windows(stored_windows(&opened), moment);
            let (waited, alerts) = stored_alerts(&opened).unzip();
            let late = core.evaluator.restore_waiting(alerts, moment);
            runtime.block_on(async move {
                let mut engine = Engine::new(self, core, outbox, &opened);
                engine.take_up(late, waited);
                let _ = open.send(());
                engine.run(ended).await;
            });
            // A collection that hangs on a blocking thread must not hold this one.
            runtime.shutdown_background();
        })
        .map_err(EngineError::Thread)?;
        // Too late is no failure: alerts wait in memory until the outbox is open.
        let _ = opened.recv_timeout(OPENING);
        Ok(())
    }
}

fn stored_incidents(opened: &Opened) -> Vec<StoredIncident> {
    let mut unreadable = 0;
    let stored = opened
        .contents
        .of(Table::Incidents)
        .filter_map(|(_, bytes)| serde_json::from_slice(bytes).inspect_err(|_| unreadable += 1).ok())
        .collect();
    if unreadable > 0 {
        tracing::error!(
            target: "trading_telemetry",
            unreadable,
            hint = "they are forgotten; what still holds is announced again",
            "alert_incidents_not_read"
        );
    }
    stored
}

/// A window that cannot be read costs a message that was sent before, at worst.
fn stored_windows(opened: &Opened) -> Vec<(String, StoredWindow)> {
    let windows = opened.contents.of(Table::Windows);
    windows.filter_map(|(key, bytes)| Some((key.to_owned(), serde_json::from_slice(bytes).ok()?))).collect()
}

/// The alerts that waited for their incidents when the process ended, by the keys of their records, oldest first.
fn stored_alerts(opened: &Opened) -> impl Iterator<Item = (String, StoredAlert)> {
    let waiting = opened.contents.of(Table::Waiting);
    waiting.filter_map(|(key, bytes)| Some((key.to_owned(), serde_json::from_slice(bytes).ok()?)))
}

struct Engine {
    core: Core,
    delivery: Delivery,
    routes: Routes,
    origin: Arc<Origin>,
    channels: ChannelSettings,
    http: HttpSettings,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    silences: SilenceSources,
    audit_loss: AuditLoss,
    /// Channels that alerts named and nobody knows.
    unknown_channels: ToldOf,
    commands: Commands,
    /// A shutdown that was asked for.
    ending: Option<(Duration, mpsc::Sender<Drained>)>,
    heart: Option<Heart>,
    interval: Duration,
    durations: Vec<(&'static str, Distribution)>,
    /// Ids of the incidents that are in the outbox.
    stored: BTreeSet<String>,
    stored_at: Instant,
}

impl Engine {
    fn new(prepared: Prepared, mut core: Core, outbox: Outbox, opened: &Opened) -> Self {
        let Prepared { config, heart, clock, shared, commands, audit_lost, durations, .. } = prepared;
        // They could be built a moment ago.
        let channels = config.channels.build(&config.http, &clock).unwrap_or_default();
        core.resume(&channels, &config.delivery.routes, &config.delivery.origin);
        let (routes, origin) = (config.delivery.routes.clone(), Arc::clone(&config.delivery.origin));
        let delivery = Delivery::start(config.delivery, channels, outbox, opened, Arc::clone(&clock));
        let stored = opened.contents.of(Table::Incidents).map(|(id, _)| id.to_owned()).collect();
        let mut engine = Self {
            core,
            delivery,
            routes,
            origin,
            channels: config.channels,
            http: config.http,
            clock,
            shared,
            silences: SilenceSources::new(config.silences_file, rule_names(&config.policy)),
            audit_loss: AuditLoss::new(audit_lost),
            unknown_channels: ToldOf::default(),
            commands,
            ending: None,
            heart,
            interval: config.interval,
            durations,
            stored,
            stored_at: Instant::now(),
        };
        engine.silences.restore(&opened.contents);
        engine.silences.reread();
        engine.silence();
        engine.show();
        engine
    }

    async fn run(mut self, ended: Vec<Event>) {
        self.record(ended);
        let mut next = tokio::time::Instant::now();
        let mut foreign: Option<JoinHandle<Option<ResourceMetrics>>> = None;
        let shared = Arc::clone(&self.shared);
        loop {
            if let Some((deadline, reply)) = self.ending.take() {
                let _ = reply.send(self.shut_down(deadline).await);
                return;
            }
            let until = self.core.evaluator.next_deadline().map_or(next, |due| {
                let wait = due.saturating_sub(self.clock.monotonic());
                next.min(tokio::time::Instant::now() + wait)
            });
            // Whoever sends without a pause must not keep the rules from being evaluated.
            let is_due = tokio::time::Instant::now() >= next;
            tokio::select! {
                biased;
                collected = finished(&mut foreign), if foreign.is_some() => {
                    foreign = None;
                    self.evaluate(collected.as_ref());
                }
                () = shared.wake.notified(), if !is_due => {
                    self.woken();
                    // Nor the channels from sending.
                    tokio::task::yield_now().await;
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command, &[]),
                    None => return,
                },
                () = tokio::time::sleep_until(until) => {
                    if tokio::time::Instant::now() < next {
                        self.woken();
                        continue;
                    }
                    next = tokio::time::Instant::now() + self.interval;
                    if !self.core.watches_foreign() {
                        self.evaluate(None);
                    } else if foreign.is_none() {
                        // The service's callbacks may hang; the engine may not.
                        let readings = self.core.readings.clone();
                        foreign = Some(tokio::task::spawn_blocking(move || readings.collect_foreign()));
                    }
                }
            }
        }
    }

    /// Sends `late`, which an earlier process held back, and takes their records `waited` off the disk.
    fn take_up(&mut self, mut late: Vec<Event>, waited: Vec<String>) {
        if waited.is_empty() {
            return;
        }
        self.reroute(&mut late);
        let mut records = self.direct_records();
        records.extend(waited.into_iter().map(|key| Record { table: Table::Waiting, key, value: None }));
        self.core.view.told(&late);
        self.shared.subscribers.tell(&late);
        self.delivery.record_late(late, &records);
    }

    /// Something has changed that cannot wait for the next evaluation.
    fn woken(&mut self) {
        self.obey_waiting(&[]);
        let events = self.core.evaluate_latched(|| self.shared.inbox.take());
        self.obey_waiting(&events);
        self.record(events);
    }

    fn evaluate(&mut self, foreign: Option<&ResourceMetrics>) {
        self.look_after_silences();
        self.obey_waiting(&[]);
        let mut events = self.core.evaluate(|| self.shared.inbox.take(), foreign);
        self.obey_waiting(&events);
        events.extend(self.core.direct(self.audit_loss.alert()));
        self.record(events);
        self.show();
        if let Some(heart) = &mut self.heart {
            heart.beat();
        }
    }

    /// Reads the file if it has changed, and forgets what is long over.
    fn look_after_silences(&mut self) {
        let gone = self.silences.expire(self.clock.wall());
        if !gone.is_empty() {
            self.delivery.record([], &gone);
        }
        if self.silences.reread() {
            self.silence();
        }
    }

    /// Puts the silences in force.
    fn silence(&mut self) {
        let silences = self.silences.all();
        self.shared.view.silenced(silences.in_force(self.clock.wall()));
        self.core.evaluator.set_silences(silences);
    }

    /// Lets an alert whose channels are all unknown go to every channel: a slip in a name must not keep it from people.
    fn reroute(&mut self, events: &mut [Event]) {
        let known: Vec<_> = self.delivery.stats().iter().map(|channel| channel.name()).collect();
        for event in events.iter_mut().filter(|event| event.kind == EventKind::Direct) {
            let Some(chosen) = &event.channels else { continue };
            let unknown: Vec<_> = chosen.iter().filter(|name| !known.contains(&name.as_str())).collect();
            for channel in &unknown {
                self.unknown_channels.once(channel, "unknown", || {
                    tracing::warn!(
                        target: "trading_telemetry",
                        channel = channel.as_str(),
                        channels = known.join(", "),
                        hint = "an alert with no channel that is in use goes to every one; correct the name",
                        "alert_channel_unknown"
                    );
                });
            }
            if !unknown.is_empty() && unknown.len() == chosen.len() {
                event.channels = None;
            }
        }
    }

    /// Hands on what there is to tell, together with the incidents that it leaves open.
    fn record(&mut self, mut events: Vec<Event>) {
        self.reroute(&mut events);
        let mut records = self.direct_records();
        if !events.is_empty() || self.stored_at.elapsed() >= STORE_EVERY {
            records.extend(self.incidents());
        } else if records.is_empty() {
            return;
        }
        self.shared.subscribers.tell(&events);
        self.delivery.record(events, &records);
    }

    /// What has changed of the windows of duplicates, and of the alerts that wait for their incidents.
    fn direct_records(&mut self) -> Vec<Record> {
        let evaluator = &mut self.core.evaluator;
        let windows = evaluator.take_window_changes().into_iter();
        let windows = windows.map(|(key, window)| record(Table::Windows, key, window.as_ref()));
        let waiting = evaluator.take_waiting_changes().into_iter();
        windows.chain(waiting.map(|(key, alert)| record(Table::Waiting, key, alert.as_ref()))).collect()
    }

    /// The open incidents, and those in the outbox that are open no more.
    fn incidents(&mut self) -> Vec<Record> {
        self.stored_at = Instant::now();
        let moment = self.core.moment();
        let mut gone = std::mem::take(&mut self.stored);
        let mut records = Vec::new();
        for incident in self.core.evaluator.stored(moment) {
            let id = incident.id().to_owned();
            gone.remove(&id);
            if let Ok(bytes) = serde_json::to_vec(&incident) {
                records.push(Record { table: Table::Incidents, key: id.clone(), value: Some(bytes) });
            }
            self.stored.insert(id);
        }
        records.extend(gone.into_iter().map(|key| Record { table: Table::Incidents, key, value: None }));
        records
    }

    fn show(&mut self) {
        let stats = self.delivery.stats();
        for channel in &stats {
            let known = self.durations.iter().position(|(name, _)| *name == channel.name());
            let index = known.unwrap_or_else(|| {
                let registry = self.core.readings.metrics().registry();
                self.durations.push((channel.name(), view::send_durations(registry, channel.name())));
                self.durations.len() - 1
            });
            for took in channel.take_durations() {
                self.durations[index].1.record(took.as_secs_f64());
            }
        }
        self.shared.view.channels(stats, self.delivery.queues());
    }

    /// Obeys what waits. A service that silences or sets up a channel, and then changes a value or sends an alert, means
    /// them in this order: it is called before these are read and, with what they came to, before that is told.
    fn obey_waiting(&mut self, about_to_tell: &[Event]) {
        while self.ending.is_none()
            && let Ok(command) = self.commands.try_recv()
        {
            self.obey(command, about_to_tell);
        }
    }

    fn obey(&mut self, command: Command, about_to_tell: &[Event]) {
        match command {
            Command::Test(channel, mut reply) => {
                // The channel may take its time; the engine may not. Whoever asked may have waited long enough.
                let tested = self.delivery.test_channel(&channel);
                tokio::spawn(async move {
                    tokio::select! {
                        result = tested => drop(reply.send(result)),
                        () = reply.closed() => {}
                    }
                });
            }
            Command::Silence(silence) => {
                let record = self.silences.add(silence);
                self.delivery.record([], &[record]);
                self.silence();
            }
            Command::EndSilence(id, reply) => {
                let ended = self.silences.end(&id);
                self.delivery.record([], ended.as_slice());
                self.silence();
                let _ = reply.send(ended.is_some());
            }
            Command::Slack(webhook) => self.set_up(about_to_tell, |channels| channels.set_slack(webhook)),
            Command::Telegram(token, chat) => {
                self.set_up(about_to_tell, |channels| channels.set_telegram(token, chat));
            }
            Command::Shutdown(deadline, reply) => self.ending = Some((deadline, reply)),
        }
    }

    /// Goes on with the settings of the channels as `change` makes them; where they cannot work, with those of before.
    fn set_up(&mut self, about_to_tell: &[Event], change: impl FnOnce(&mut ChannelSettings)) {
        let mut settings = self.channels.clone();
        change(&mut settings);
        match settings.build(&self.http, &self.clock) {
            Ok(channels) => {
                self.channels = settings;
                self.core.resume(&channels, &self.routes, &self.origin);
                let known: Vec<_> = self.delivery.queues().into_iter().map(|(name, _)| name).collect();
                let names: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
                self.delivery.replace_channels(channels);
                names
                    .iter()
                    .filter(|name| !known.contains(name))
                    .for_each(|name| self.catch_up(name, about_to_tell));
                self.show();
            }
            Err(error) => tracing::error!(
                target: "trading_telemetry",
                %error,
                hint = "the channels stay as they were",
                "alert_channel_not_configured"
            ),
        }
    }

    /// Tells a channel that comes into use what is open and new to it: else all it heard of it would be the end.
    fn catch_up(&mut self, channel: &str, about_to_tell: &[Event]) {
        let moment = self.core.moment();
        let mut open = self.core.evaluator.restated(moment);
        let is_told = |open: &Event| {
            about_to_tell.iter().any(|event| event.incident == open.incident)
                // By the process before this one.
                || self.delivery.tells_of(channel, open)
        };
        open.retain(|event| !event.silenced && !is_told(event) && self.routes.lead_to(channel, event));
        for event in &mut open {
            event.channels = Some(vec![channel.to_owned()]);
        }
        self.delivery.record(open, &[]);
    }

    async fn shut_down(mut self, deadline: Duration) -> Drained {
        self.woken();
        self.evaluate(None);
        let moment = self.core.moment();
        let events = self.core.evaluator.drain(moment);
        self.record(events);
        self.delivery.shutdown(deadline).await
    }
}

fn record<T: Serialize>(table: Table, key: String, value: Option<&T>) -> Record {
    Record { table, key, value: value.and_then(|value| serde_json::to_vec(value).ok()) }
}

/// The service's own metrics, once they are collected. A panic while collecting is a collection that failed.
async fn finished(foreign: &mut Option<JoinHandle<Option<ResourceMetrics>>>) -> Option<ResourceMetrics> {
    match foreign {
        Some(handle) => handle.await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// The alerts' signal: what can be sent is sent, critical first; the rest stays for the next start.
pub(crate) struct AlertsSignal(pub(crate) Alerts);

impl Signal for AlertsSignal {
    fn name(&self) -> &'static str {
        "alerts"
    }

    fn shutdown(&self, deadline: Duration) -> SignalOutcome {
        let (reply, drained) = mpsc::channel();
        self.0.command(Command::Shutdown(deadline, reply));
        // The delivery keeps the deadline; the margin is for its last commit.
        let drained = drained.recv_timeout(deadline + Duration::from_secs(1));
        let so_far = self.so_far();
        match drained {
            Ok(Drained { unsent, stored }) => {
                let number = unsent.iter().map(|(_, number)| number).sum::<usize>() as u64;
                let (kept, lost) = if stored { (number, 0) } else { (0, number) };
                SignalOutcome { lost, kept, ..so_far }
            }
            Err(_) => SignalOutcome { error: Some("the alerts' thread did not answer".into()), ..so_far },
        }
    }

    fn so_far(&self) -> SignalOutcome {
        let sent = |severity| self.0.shared.view.sent(severity);
        let delivered = Some(AlertSeverity::ALL.into_iter().map(sent).sum());
        SignalOutcome { delivered, ..SignalOutcome::default() }
    }
}
