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
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub use pace::{Backoff, Pace};
pub use settings::{DeliverySettings, Routes};
pub use stats::{ChannelStats, DeliveryResult, QueueSnapshot};

use super::channels::{Channel, ChannelError, LogChannel};
use super::event::Event;
use super::outbox::{Health, Opened, Outbox, Table};
use crate::clock::Clock;
use entry::{Entry, EntryId};
use lane::{Lane, Now};
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
    tasks: Vec<JoinHandle<()>>,
}

pub(super) struct Inner {
    settings: Arc<DeliverySettings>,
    stations: Vec<Station>,
    log: LogChannel,
    log_stats: Arc<ChannelStats>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("stations", &self.stations).finish_non_exhaustive()
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
    /// Starts one task per channel on the current tokio runtime, with what earlier processes left to send.
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
        let log_stats = Arc::new(ChannelStats::new(LogChannel::NAME));
        Self::start_with(Arc::new(settings), channels, outbox, opened, clock, &[log_stats])
    }

    /// Goes on with other channels. What waits is taken over, and the counters of a channel that stays go on; what was in
    /// flight may arrive twice.
    pub fn replace_channels(&mut self, channels: Vec<Arc<dyn Channel>>) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let Inner { settings, outbox, clock, .. } = &*self.inner;
        let opened = Opened { contents: outbox.contents(), ..Opened::default() };
        let stats = self.stats();
        let (settings, outbox, clock) = (Arc::clone(settings), outbox.clone(), Arc::clone(clock));
        *self = Self::start_with(settings, channels, outbox, &opened, clock, &stats);
    }

    /// `known` are counters that go on; those of the log are among them.
    fn start_with(
        settings: Arc<DeliverySettings>,
        channels: Vec<Arc<dyn Channel>>,
        outbox: Outbox,
        opened: &Opened,
        clock: Arc<dyn Clock>,
        known: &[Arc<ChannelStats>],
    ) -> Self {
        let stats_of = |name: &'static str| {
            let known = known.iter().find(|stats| stats.name() == name).cloned();
            known.unwrap_or_else(|| Arc::new(ChannelStats::new(name)))
        };
        let now = Now { monotonic: clock.monotonic(), wall: clock.wall() };
        let (mut stations, mut asked) = (Vec::new(), Vec::new());
        let names: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
        for channel in channels {
            let stats = stats_of(channel.name());
            let others = names.iter().filter(|name| **name != channel.name());
            let lane = Lane::new(
                channel.name(),
                others.map(|name| (*name).to_owned()).collect(),
                channel.pace(),
                Arc::clone(&settings),
                Arc::clone(&stats),
                now.monotonic,
            );
            let (station, tests) = Station::new(channel, lane, stats);
            stations.push(station);
            asked.push(tests);
        }
        let log_stats = stats_of(LogChannel::NAME);
        let inner =
            Arc::new(Inner { settings, stations, log: LogChannel::default(), log_stats, outbox, clock });
        inner.restore(opened, now);

        let (closing, closed) = watch::channel(None);
        let mut tasks: Vec<JoinHandle<()>> = asked
            .into_iter()
            .enumerate()
            .map(|(index, tests)| tokio::spawn(task::run(Arc::clone(&inner), index, tests, closed.clone())))
            .collect();
        tasks.push(tokio::spawn(watch_outbox(Arc::clone(&inner), closed)));
        Self { inner, closing, tasks }
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
        let asked = self.ask_for_test(channel);
        let channel = channel.to_owned();
        async move {
            match asked? {
                Some(result) => result.await.map_err(|_| ChannelError::closed(&channel))?,
                None => Ok(()),
            }
        }
    }

    /// `None` where the message is sent already.
    fn ask_for_test(
        &self,
        channel: &str,
    ) -> Result<Option<oneshot::Receiver<Result<(), ChannelError>>>, ChannelError> {
        if channel == LogChannel::NAME {
            self.inner.log.write(&own::test(channel, self.inner.clock.wall()));
            return Ok(None);
        }
        let station = self.inner.station(channel).ok_or_else(|| ChannelError::unknown(channel))?;
        let (asked, result) = oneshot::channel();
        station.tests.send(asked).map_err(|_| ChannelError::closed(channel))?;
        Ok(Some(result))
    }

    /// The counters of each channel, the log first.
    pub fn stats(&self) -> Vec<Arc<ChannelStats>> {
        let others = self.inner.stations.iter().map(|station| &station.stats);
        std::iter::once(&self.inner.log_stats).chain(others).cloned().collect()
    }

    /// The queue of each channel but the log, which has none.
    pub fn queues(&self) -> Vec<(&'static str, QueueSnapshot)> {
        let now = self.inner.clock.monotonic();
        self.inner
            .stations
            .iter()
            .map(|station| (station.channel.name(), station.lane().snapshot(now)))
            .collect()
    }

    /// Sends what can be sent within `deadline`, critical messages first, then closes the outbox. What is left stays in it
    /// for the next start. Takes at most a second longer than `deadline`.
    pub async fn shutdown(mut self, deadline: Duration) -> Drained {
        let until = self.inner.clock.monotonic() + deadline;
        self.closing.send_replace(Some(until));
        // The tasks know the deadline; the limit is for a clock that stands still.
        let limit = tokio::time::Instant::now() + deadline + Duration::from_millis(500);
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout_at(limit, &mut task).await.is_err() {
                task.abort();
            }
        }
        let unsent: Vec<_> = self
            .inner
            .stations
            .iter()
            .map(|station| (station.channel.name(), station.lane().snapshot(until).length))
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
        // One batch for everything: an incident's state must not be on disk without its message, nor the other way.
        let mut batch = self.outbox.begin();
        for record in records {
            match &record.value {
                Some(value) => batch.put(record.table, &record.key, value.clone()),
                None => batch.remove(record.table, &record.key),
            }
        }
        for event in events {
            for station in &self.stations {
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

    /// Queues what earlier processes could not send, and tells of outboxes that could not be read.
    fn restore(&self, opened: &Opened, now: Now) {
        let pauses = opened.contents.of(Table::NotBefore);
        for (channel, bytes) in pauses {
            if let Some(station) = self.station(channel) {
                station.lane().restore_pause(bytes, now);
            }
        }
        for (key, severity) in opened.contents.of(Table::Told) {
            if let Some((channel, incident)) = key.split_once('/')
                && let Some(station) = self.station(channel)
            {
                station.lane().restore_told(incident, severity);
            }
        }
        for open in own::open(&opened.contents).filter(|open| !own::is_of_outbox(open)) {
            let channel = |station: &&Station| own::is_of_channel(&open, station.channel.name());
            if let Some(station) = self.stations.iter().find(channel) {
                station.lane().restore_trouble(open, now);
            } else {
                self.tell(Some(own::over(&open, "The channel is not configured any more.", now.wall)));
            }
        }
        let mut unreadable = 0_u64;
        {
            let mut batch = self.outbox.begin();
            for (key, bytes) in opened.contents.of(Table::Unsent) {
                let Some(entry) = Entry::restore(key, bytes, now.monotonic, now.wall) else {
                    unreadable += 1;
                    continue;
                };
                // A channel that is no longer configured may be so again; its messages end by their age.
                let channel = key.split('/').next().unwrap_or_default();
                if let Some(station) = self.station(channel) {
                    station.lane().push(entry, &mut batch, now);
                } else if entry.expires(self.settings.critical_ttl) <= now.monotonic {
                    batch.remove(Table::Unsent, key);
                }
            }
        }
        if unreadable > 0 {
            tracing::error!(target: "trading_telemetry", records = unreadable, "alert_outbox_records_unreadable");
        }
        let damaged =
            opened.set_aside.iter().map(|file| own::damaged_outbox(&file.display().to_string(), now.wall));
        self.record(damaged, &[], Entry::new);
    }

    fn station(&self, channel: &str) -> Option<&Station> {
        self.stations.iter().find(|station| station.channel.name() == channel)
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
        for task in &self.tasks {
            task.abort();
        }
    }
}
