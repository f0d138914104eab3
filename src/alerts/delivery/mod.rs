//! Delivery: one task per channel, so that a hung one delays nobody.
//!
//! An event is in the outbox before it is sent and off it after the channel has accepted it. What waits is kept by state:
//! per channel and incident one message, which tells of everything that the channel has not been told. Order holds within
//! a channel, except that critical overtakes, and the kill switch overtakes everything.

mod entry;
mod lane;
mod own;
mod pace;
mod settings;
mod stats;
mod task;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use pace::{Backoff, Pace};
pub use settings::{DeliverySettings, Routes};
pub use stats::{ChannelStats, DeliveryResult, QueueSnapshot};

use super::channels::{Channel, ChannelError, LogChannel};
use super::event::Event;
use super::outbox::{Contents, Health, Opened, Outbox, Table};
use crate::clock::Clock;
use crate::lock::lock;
use entry::{Entry, EntryId};
use lane::Now;
pub(super) use own::test as test_event;
use task::Station;

/// A record to be written together with events: the state of an incident, a window of duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub table: Table,
    /// Its key.
    pub key: String,
    /// What to store; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// The running delivery. Dropping it without [`Self::shutdown`] stops its tasks; what they had not sent stays in the
/// outbox.
#[derive(Debug)]
pub struct Delivery {
    inner: Arc<Inner>,
    closing: watch::Sender<Option<Duration>>,
    /// By the channel that each sends to; that of the log watches the outbox.
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

pub(super) struct Inner {
    settings: Arc<DeliverySettings>,
    /// Replaced as a whole when the channels are.
    stations: Mutex<Arc<[Arc<Station>]>>,
    log: LogChannel,
    log_stats: Arc<ChannelStats>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("stations", &self.stations()).finish_non_exhaustive()
    }
}

/// What a shutdown came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many messages were not delivered, by channel. They are in the outbox for the next start, if that is on disk.
    pub unsent: Vec<(&'static str, usize)>,
    /// Whether everything that was not delivered is on disk.
    pub stored: bool,
}

impl Delivery {
    /// Starts one task per channel on the current tokio runtime, with what earlier processes left to send in `outbox`.
    ///
    /// Events reach the log by themselves; `channels` are the others. Must be called within a tokio runtime whose timers
    /// are on.
    pub fn start(
        settings: DeliverySettings,
        channels: Vec<Arc<dyn Channel>>,
        outbox: Outbox,
        opened: &Opened,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Arc::new(Inner {
            settings: Arc::new(settings),
            stations: Mutex::new(Arc::default()),
            log: LogChannel::default(),
            log_stats: Arc::new(ChannelStats::new(LogChannel::NAME)),
            outbox,
            clock,
        });
        let (closing, closed) = watch::channel(None);
        let mut delivery = Self { inner, closing, tasks: Vec::new() };
        delivery.replace_channels(channels);
        // It has somebody to tell by now.
        let watching = tokio::spawn(watch_outbox(Arc::clone(&delivery.inner), closed));
        delivery.tasks.push((LogChannel::NAME, watching));
        let wall = delivery.inner.clock.wall();
        let damaged =
            opened.set_aside.iter().map(|file| own::damaged_outbox(&file.display().to_string(), wall));
        delivery.record(damaged, &[]);
        delivery
    }

    /// Goes on with other channels. One that stays keeps its queue, its counters and the request in flight; what it has
    /// refused is tried again at once, since it may have been set up anew.
    pub fn replace_channels(&mut self, channels: Vec<Arc<dyn Channel>>) {
        let inner = &self.inner;
        let (now, before, contents) = (inner.now(), inner.stations(), inner.outbox.contents());
        let mut names: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
        let (mut stations, mut new) = (Vec::new(), Vec::new());
        for channel in channels {
            let others = names.iter().filter(|name| **name != channel.name());
            let others = others.map(|name| (*name).to_owned()).collect();
            let staying = before.iter().find(|station| station.name == channel.name());
            let station = if let Some(station) = staying {
                station.set_up(channel, others, now.monotonic);
                Arc::clone(station)
            } else {
                let station = Arc::new(Station::new(channel, others, &inner.settings, now.monotonic));
                inner.take_up(&station, &contents, now);
                new.push(Arc::clone(&station));
                station
            };
            stations.push(station);
        }
        *lock(&inner.stations) = stations.into();
        inner.look_after_the_rest(&contents, now);

        names.push(LogChannel::NAME);
        self.tasks.retain(|(name, task)| {
            let stays = names.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        self.tasks.extend(new.into_iter().map(|station| {
            let task = task::run(Arc::clone(inner), Arc::clone(&station), self.closing.subscribe());
            (station.name, tokio::spawn(task))
        }));
    }

    /// Takes `events`, writes them to the log at once, and queues them for the channels. They and `records` reach the
    /// disk together or not at all. Costs microseconds for each channel; no I/O, no waiting.
    pub fn record(&self, events: impl IntoIterator<Item = Event>, records: &[Record]) {
        self.inner.record(events, records, Entry::new);
    }

    /// As [`Self::record`], for what an earlier process took and did not tell: it is marked as delayed.
    pub fn record_late(&self, events: impl IntoIterator<Item = Event>, records: &[Record]) {
        self.inner.record(events, records, Entry::late);
    }

    /// Takes one event.
    pub fn submit(&self, event: Event) {
        self.record([event], &[]);
    }

    /// Sends a message marked `[TEST]` through `channel` and waits for its result.
    ///
    /// # Errors
    ///
    /// When there is no such channel, when the service asked for a pause, cannot be reached, or refuses.
    pub fn test_channel(
        &self,
        channel: &str,
    ) -> impl Future<Output = Result<(), ChannelError>> + Send + use<> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        async move { inner.test(&channel).await }
    }

    /// Whether people know of the incident of `event` from `channel`, or will by what waits for it.
    pub(super) fn tells_of(&self, channel: &str, event: &Event) -> bool {
        self.inner.station(channel).is_some_and(|station| station.lane().tells_of(event))
    }

    /// The counters of each channel, the log first.
    pub fn stats(&self) -> Vec<Arc<ChannelStats>> {
        let stations = self.inner.stations();
        let others = stations.iter().map(|station| &station.stats);
        std::iter::once(&self.inner.log_stats).chain(others).cloned().collect()
    }

    /// The queue of each channel but the log, which has none.
    pub fn queues(&self) -> Vec<(&'static str, QueueSnapshot)> {
        let now = self.inner.clock.monotonic();
        self.inner.stations().iter().map(|station| (station.name, station.lane().snapshot(now))).collect()
    }

    /// Sends what can be sent within `deadline`, critical messages first, then closes the outbox. What is left stays in it
    /// for the next start. Takes at most a second longer than `deadline`.
    pub async fn shutdown(mut self, deadline: Duration) -> Drained {
        let until = self.inner.clock.monotonic() + deadline;
        self.closing.send_replace(Some(until));
        // The tasks know the deadline; the limit is for a clock that stands still.
        let limit = tokio::time::Instant::now() + deadline + Duration::from_millis(500);
        for (_, mut task) in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout_at(limit, &mut task).await.is_err() {
                task.abort();
            }
        }
        let unsent: Vec<_> = self
            .inner
            .stations()
            .iter()
            .map(|station| (station.name, station.lane().snapshot(until).length))
            .filter(|(_, length)| *length > 0)
            .collect();
        let closed = self.inner.outbox.close(Duration::from_millis(500)).await;
        let stored = closed && self.inner.outbox.is_on_disk();
        for (channel, messages) in &unsent {
            tracing::warn!(target: "trading_telemetry", channel, messages, stored, "alerts_unsent_at_shutdown");
        }
        Drained { unsent, stored }
    }
}

impl Inner {
    fn now(&self) -> Now {
        Now { monotonic: self.clock.monotonic(), wall: self.clock.wall() }
    }

    fn record(
        &self,
        events: impl IntoIterator<Item = Event>,
        records: &[Record],
        entry: impl Fn(EntryId, Event, Duration, Timestamp) -> Entry,
    ) {
        let events: Vec<Event> = events.into_iter().collect();
        for event in &events {
            self.log.write(event);
            self.log_stats.add(event.severity, DeliveryResult::Sent);
        }
        let now = self.now();
        let stations = self.stations();
        // One batch for everything: an incident's state must not be on disk without its message, nor the other way.
        let mut batch = self.outbox.begin();
        for record in records {
            match &record.value {
                Some(value) => batch.put(record.table, &record.key, value.clone()),
                None => batch.remove(record.table, &record.key),
            }
        }
        for event in events {
            for station in stations.iter() {
                let mut lane = station.lane();
                if lane.wants(&event) {
                    let entry = entry(own::new_id(now.wall), event.clone(), now.monotonic, now.wall);
                    lane.push(entry, &mut batch, now);
                    drop(lane);
                    station.wake.notify_one();
                }
            }
        }
    }

    /// Goes on where the last process, or the last set-up, with `station` left off.
    fn take_up(&self, station: &Station, contents: &Contents, now: Now) {
        let mut batch = self.outbox.begin();
        let mut lane = station.lane();
        let of_channel = |key: &str| key.split_once('/').is_some_and(|(channel, _)| channel == station.name);
        for (_, bytes) in contents.of(Table::NotBefore).filter(|(channel, _)| *channel == station.name) {
            lane.restore_pause(bytes, now);
        }
        for (key, severity) in contents.of(Table::Told).filter(|(key, _)| of_channel(key)) {
            if let Some((_, incident)) = key.split_once('/') {
                lane.restore_told(incident, severity);
            }
        }
        for open in own::open(contents).filter(|open| own::is_of_channel(open, station.name)) {
            lane.restore_trouble(open, now);
        }
        let mut unreadable = 0_u64;
        for (key, bytes) in contents.of(Table::Unsent).filter(|(key, _)| of_channel(key)) {
            match Entry::restore(key, bytes, now.monotonic, now.wall) {
                Some(entry) => lane.push(entry, &mut batch, now),
                None => unreadable += 1,
            }
        }
        if unreadable > 0 {
            tracing::error!(
                target: "trading_telemetry",
                channel = station.name,
                records = unreadable,
                "alert_outbox_records_unreadable"
            );
        }
    }

    /// Ends what `contents` hold of channels that are not configured any more. One may be so again: its messages end by
    /// their age, for which there is the wall clock alone.
    fn look_after_the_rest(&self, contents: &Contents, now: Now) {
        for open in own::open(contents).filter(|open| !own::is_of_outbox(open)) {
            if !self.stations().iter().any(|station| own::is_of_channel(&open, station.name)) {
                self.tell(Some(own::over(&open, "The channel is not configured any more.", now.wall)));
            }
        }
        let mut batch = self.outbox.begin();
        for (key, bytes) in contents.of(Table::Unsent) {
            if self.station(key.split('/').next().unwrap_or_default()).is_none()
                && let Some(entry) = Entry::restore(key, bytes, now.monotonic, now.wall)
                && entry.is_older_than(self.settings.critical_ttl, now.wall)
            {
                batch.remove(Table::Unsent, key);
            }
        }
    }

    fn stations(&self) -> Arc<[Arc<Station>]> {
        Arc::clone(&lock(&self.stations))
    }

    fn station(&self, channel: &str) -> Option<Arc<Station>> {
        self.stations().iter().find(|station| station.name == channel).cloned()
    }
}

/// Makes an incident of an outbox that is not on disk.
async fn watch_outbox(inner: Arc<Inner>, mut closing: watch::Receiver<Option<Duration>>) {
    let mut health = inner.outbox.health();
    let mut open = own::open(&inner.outbox.contents()).find(own::is_of_outbox);
    loop {
        let state = health.borrow_and_update().clone();
        let event = match (&state, open.take()) {
            (Health::InMemory(why), None) => {
                let event = own::unsafe_outbox(why, inner.clock.wall());
                open = Some(event.clone());
                Some(event)
            }
            (Health::InMemory(_), still @ Some(_)) => {
                open = still;
                None
            }
            (Health::Stored, Some(open)) => {
                Some(own::over(&open, "Alerts are on disk again.", inner.clock.wall()))
            }
            (Health::Stored, None) => None,
        };
        inner.tell(event);
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            _ = closing.changed() => return,
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}
