//! The queue of one channel and every decision about it: what is sent next, when, and what a result means.
//!
//! No clock, no I/O and no waiting: the time comes in, records go out into a [`Batch`]. The task of the channel does the
//! rest.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Urgency};
use super::own;
use super::pace::{Pace, Tokens};
use super::settings::DeliverySettings;
use super::stats::{ChannelStats, DeliveryResult, QueueSnapshot};
use crate::alerts::channels::{Failure, Outcome};
use crate::alerts::event::{AlertSeverity, Event, EventKind};
use crate::alerts::outbox::{Batch, Table, Ticket};

/// The moment of a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) monotonic: Duration,
    pub(super) wall: Timestamp,
}

/// What the task of a channel does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this, then call [`Lane::settle`].
    Send(Box<Entry>),
    /// Nothing until this monotonic time, or until something changes.
    Wait {
        until: Option<Duration>,
        /// The next message waits for the disk alone.
        for_disk: bool,
    },
}

#[derive(Debug)]
enum Health {
    Up,
    /// It did not take the last message, and nothing waits any more that could show whether it would now.
    Idle,
    /// Failures in a row, and when the next try is.
    Failing {
        failures: u32,
        retry_at: Duration,
    },
    Dead {
        why: Failure,
        probe_at: Duration,
    },
}

/// A pause, as it is stored: with its length, so that a wall clock that jumped can't prolong it.
#[derive(Debug, Serialize, Deserialize)]
struct Pause {
    until: Timestamp,
    length: Duration,
}

#[derive(Debug)]
pub(super) struct Lane {
    channel: &'static str,
    /// Who is told when this one does not deliver.
    others: Vec<String>,
    settings: Arc<DeliverySettings>,
    stats: Arc<ChannelStats>,
    queue: VecDeque<Entry>,
    in_flight: Option<Entry>,
    tokens: Tokens,
    health: Health,
    not_before: Duration,
    /// The batch that takes the last accepted message off the disk, and when it was begun.
    acknowledged: (Ticket, Duration),
    /// The incidents that people know of from this channel, with the highest severity that it has told: they hear the
    /// end, too.
    told: HashMap<String, AlertSeverity>,
    /// Open incidents of which this channel kept silent: their end alone would say nothing.
    untold: HashSet<String>,
    dropped: u64,
    /// The incident that this channel itself is.
    trouble: Option<Event>,
}

impl Lane {
    pub(super) fn new(
        channel: &'static str,
        others: Vec<String>,
        pace: Pace,
        settings: Arc<DeliverySettings>,
        stats: Arc<ChannelStats>,
        now: Duration,
    ) -> Self {
        Self {
            channel,
            others,
            settings,
            stats,
            queue: VecDeque::new(),
            in_flight: None,
            tokens: Tokens::full(pace, now),
            health: Health::Up,
            not_before: Duration::ZERO,
            acknowledged: (0, Duration::ZERO),
            told: HashMap::new(),
            untold: HashSet::new(),
            dropped: 0,
            trouble: None,
        }
    }

    /// Goes on with a channel that was set up anew.
    pub(super) fn set_up(&mut self, others: Vec<String>, pace: Pace, now: Duration) {
        self.others = others;
        self.tokens.keep_to(pace, now);
        // It takes up by itself what is open.
        self.untold.clear();
        self.all_in_turn();
        if matches!(self.health, Health::Failing { .. } | Health::Dead { .. }) {
            self.health = Health::Failing { failures: 0, retry_at: now };
        }
    }

    /// Goes on with a pause that an earlier process was asked for.
    pub(super) fn restore_pause(&mut self, bytes: &[u8], now: Now) {
        let Ok(pause) = serde_json::from_slice::<Pause>(bytes) else { return };
        let left = Duration::try_from(pause.until.duration_since(now.wall)).unwrap_or_default();
        self.not_before = now.monotonic + left.min(pause.length).min(self.settings.longest_pause);
    }

    /// Goes on with an open incident that people know of from this channel.
    pub(super) fn restore_told(&mut self, incident: &str, severity: &[u8]) {
        // What cannot be read is worth the most.
        let severity = serde_json::from_slice(severity).unwrap_or(AlertSeverity::Critical);
        self.told.insert(incident.to_owned(), severity);
    }

    /// Goes on with the incident that this channel is: until it takes a message, nobody knows that it is over.
    pub(super) fn restore_trouble(&mut self, open: Event, now: Now) {
        self.trouble = Some(open);
        self.health = Health::Failing { failures: 0, retry_at: now.monotonic };
        self.stats.set_up(false);
    }

    /// Whether this channel gets `event`: by its route, or because it has told of the incident or is about to.
    pub(super) fn wants(&self, event: &Event) -> bool {
        self.settings.routes.lead_to(self.channel, event)
            || (event.kind.is_of_incident() && self.tells_of(event))
    }

    /// Whether people know of the incident of `event`, or will by what waits.
    pub(super) fn tells_of(&self, event: &Event) -> bool {
        self.is_known(event) || self.queue.iter().any(|waiting| waiting.is_continued_by(event))
    }

    /// Whether people know of the incident of `event`, or will once the message in flight has arrived.
    fn is_known(&self, event: &Event) -> bool {
        self.told.contains_key(&event.incident) || self.is_in_flight(event)
    }

    fn is_in_flight(&self, event: &Event) -> bool {
        self.in_flight.as_ref().is_some_and(|sent| sent.is_continued_by(event))
    }

    /// Queues a message, or makes one that waits tell of it.
    pub(super) fn push(&mut self, mut entry: Entry, batch: &mut Batch<'_>, now: Now) {
        entry.ticket = batch.ticket();
        let event = &entry.stored.event;
        let severity = event.severity;
        if event.count > 1 {
            self.stats.add_many(severity, DeliveryResult::Deduplicated, u64::from(event.count - 1));
        }
        let waiting = self.queue.iter().position(|waiting| waiting.is_continued_by(event));
        if waiting.is_none()
            && let Some(why) = self.withhold(event)
        {
            // One that was found has a record.
            batch.remove(Table::Unsent, &entry.key(self.channel));
            self.stats.add(severity, why);
            return;
        }
        if entry.is_critical()
            && let Health::Failing { retry_at, .. } = &mut self.health
        {
            // Its chance must not be half a minute away because of what failed before it.
            *retry_at = (*retry_at).min(now.monotonic + self.settings.backoff.first);
        }
        if let Some(waiting) = waiting.and_then(|index| self.queue.get_mut(index)) {
            self.stats.add(severity, DeliveryResult::Deduplicated);
            batch.remove(Table::Unsent, &entry.key(self.channel));
            waiting.absorb(entry);
            batch.put(Table::Unsent, &waiting.key(self.channel), waiting.bytes());
        } else {
            batch.put(Table::Unsent, &entry.key(self.channel), entry.bytes());
            self.queue.push_back(entry);
            self.make_room(batch);
        }
    }

    /// Whether `event` is not to be told, and why, where no message waits that it would become part of. A silence mutes
    /// what is new, but not the end of what people know.
    fn withhold(&mut self, event: &Event) -> Option<DeliveryResult> {
        let is_known = self.is_known(event);
        if event.kind == EventKind::Resolved {
            let is_untold = self.untold.remove(&event.incident);
            return if is_known {
                None
            } else if event.silenced {
                Some(DeliveryResult::Silenced)
            } else {
                is_untold.then_some(DeliveryResult::Dropped)
            };
        }
        // If the message in flight fails, it is told with that.
        if !event.silenced || self.is_in_flight(event) {
            return None;
        }
        if event.is_open() && !is_known {
            self.untold.insert(event.incident.clone());
        }
        Some(DeliveryResult::Silenced)
    }

    /// Drops the oldest of the mildest where there is no room. What goes on with an incident that people know of takes
    /// none: it is one message of each, and without it they would go on to believe what is over.
    fn make_room(&mut self, batch: &mut Batch<'_>) {
        let room = self.settings.queue.max(1);
        if self.queue.len() <= room {
            return;
        }
        let takes_room = |(_, entry): &(usize, &Entry)| !self.is_known(&entry.stored.event);
        let worth = |entry: &Entry| (entry.urgency(), entry.stored.severity);
        let takers = || self.queue.iter().enumerate().filter(takes_room);
        if takers().count() <= room {
            return;
        }
        let mildest = takers().min_by_key(|(_, entry)| worth(entry)).map(|(index, _)| index);
        let Some(victim) = mildest.and_then(|index| self.queue.remove(index)) else { return };
        self.forget(&victim, batch);
        if victim.stored.event.is_open() {
            self.untold.insert(victim.stored.event.incident.clone());
        }
        self.stats.add(victim.stored.severity, DeliveryResult::Dropped);
        if self.dropped == 0 {
            tracing::error!(target: "trading_telemetry", channel = self.channel, "alert_queue_full");
        }
        self.dropped += 1;
    }

    /// What to do now, where the disk is at `committed`.
    pub(super) fn next(&mut self, now: Now, committed: Ticket, batch: &mut Batch<'_>) -> Next {
        self.expire(now, batch);
        self.tell_of_drops(now, batch);
        self.rest(now.monotonic);
        let at = now.monotonic;
        let blocked_until = self.not_before.max(match &self.health {
            Health::Up | Health::Idle => Duration::ZERO,
            Health::Failing { retry_at, .. } => *retry_at,
            Health::Dead { probe_at, .. } => *probe_at,
        });
        let wake = self.next_deadline(at);
        let wait = |until: Duration, for_disk| Next::Wait {
            until: Some(wake.map_or(until, |wake| wake.min(until))),
            for_disk,
        };
        let in_turn = self.queue.iter().enumerate().filter(|(_, entry)| entry.not_before <= at);
        let first = in_turn.max_by_key(|(index, entry)| (entry.urgency(), Reverse(*index)));
        let Some((index, entry)) = first else {
            return Next::Wait { until: wake, for_disk: false };
        };
        if at < blocked_until {
            return wait(blocked_until, false);
        }
        let critical = entry.is_critical();
        let (acknowledged, since) = self.acknowledged;
        let patience =
            if critical { self.settings.critical_disk_patience } else { self.settings.disk_patience };
        if committed < acknowledged && at < since + patience {
            return wait(since + patience, true);
        }
        // A critical message is posted while its record is being committed.
        if !critical && committed < entry.ticket && at < entry.renewed + patience {
            return wait(entry.renewed + patience, true);
        }
        if let Err(pause) = self.tokens.take(at, entry.urgency()) {
            return wait(at + pause, false);
        }
        match self.queue.remove(index) {
            Some(entry) => {
                self.in_flight = Some(entry.clone());
                Next::Send(Box::new(entry))
            }
            None => Next::Wait { until: wake, for_disk: false },
        }
    }

    /// When something happens by itself.
    fn next_deadline(&self, at: Duration) -> Option<Duration> {
        let expiry = self.queue.iter().filter_map(|entry| self.expires(entry)).min();
        let trouble =
            self.trouble.is_none().then(|| self.trouble_at()).flatten().filter(|trouble| *trouble > at);
        let turn = self.queue.iter().map(|entry| entry.not_before).filter(|turn| *turn > at).min();
        [expiry, trouble, turn, self.rests_at()].into_iter().flatten().min()
    }

    /// When a channel that is down and has nothing to send counts as up again: nobody can know before the next message,
    /// which is sent at once.
    fn rests_at(&self) -> Option<Duration> {
        match &self.health {
            _ if !self.is_empty() => None,
            Health::Up | Health::Idle => None,
            Health::Failing { retry_at, .. } => Some(*retry_at + self.settings.probe),
            Health::Dead { probe_at, .. } => Some(*probe_at),
        }
    }

    fn rest(&mut self, at: Duration) {
        if self.rests_at().is_some_and(|rests_at| at >= rests_at) {
            self.health = Health::Idle;
            self.stats.set_up(true);
        }
    }

    /// When it is worth nothing any more: never while what it tells still holds, and the end of an incident not before
    /// what people were told of it.
    fn expires(&self, entry: &Entry) -> Option<Duration> {
        let event = &entry.stored.event;
        if event.is_open() {
            return None;
        }
        let told = self.told.get(&event.incident).filter(|_| event.kind == EventKind::Resolved);
        let severity = told.map_or(entry.stored.severity, |told| (*told).max(entry.stored.severity));
        Some(entry.expires(self.settings.ttl(severity)))
    }

    fn expire(&mut self, now: Now, batch: &mut Batch<'_>) {
        let expired = |lane: &Self| {
            lane.queue.iter().position(|entry| lane.expires(entry).is_some_and(|at| now.monotonic >= at))
        };
        while let Some(entry) = expired(self).and_then(|index| self.queue.remove(index)) {
            self.give_up(&entry, &Failure::new("too old"), batch);
        }
    }

    fn give_up(&mut self, entry: &Entry, why: &Failure, batch: &mut Batch<'_>) {
        self.forget(entry, batch);
        self.stats.add(entry.stored.severity, DeliveryResult::Undeliverable);
        own::log_undeliverable(self.channel, &entry.stored.event, why);
    }

    /// Takes a message off the disk that is not to be sent again; with an end everything about its incident.
    fn forget(&mut self, entry: &Entry, batch: &mut Batch<'_>) {
        let event = &entry.stored.event;
        batch.remove(Table::Unsent, &entry.key(self.channel));
        if event.kind != EventKind::Resolved {
            return;
        }
        self.untold.remove(&event.incident);
        if self.told.remove(&event.incident).is_some() {
            batch.remove(Table::Told, &told_key(self.channel, &event.incident));
        }
    }

    /// Takes note of what people know now. What was muted while they were told needs no message of its own.
    fn remember(&mut self, entry: &Entry, batch: &mut Batch<'_>) {
        let (event, severity) = (&entry.stored.event, entry.stored.severity);
        self.untold.remove(&event.incident);
        if event.is_open() && self.told.get(&event.incident).is_none_or(|told| *told < severity) {
            self.told.insert(event.incident.clone(), severity);
            let bytes = serde_json::to_vec(&severity).unwrap_or_default();
            batch.put(Table::Told, &told_key(self.channel, &event.incident), bytes);
        }
        let is_muted = |later: &Entry| later.stored.event.silenced && later.stored.event.is_open();
        let muted =
            self.queue.iter().position(|later| entry.is_continued_by(&later.stored.event) && is_muted(later));
        if let Some(later) = muted.and_then(|index| self.queue.remove(index)) {
            batch.remove(Table::Unsent, &later.key(self.channel));
            self.stats.add(later.stored.severity, DeliveryResult::Silenced);
        }
    }

    /// Once there is room again, says how many messages there was none for.
    fn tell_of_drops(&mut self, now: Now, batch: &mut Batch<'_>) {
        if self.dropped > 0 && self.queue.len() <= self.settings.queue / 2 {
            let event = own::dropped(self.channel, std::mem::take(&mut self.dropped), now.wall);
            self.push(Entry::new(own::new_id(now.wall), event, now.monotonic, now.wall), batch, now);
        }
    }

    /// Takes note of what became of the message in flight. `jitter` is in 0..1.
    pub(super) fn settle(&mut self, outcome: Outcome, now: Now, jitter: f64, batch: &mut Batch<'_>) {
        let Some(mut entry) = self.in_flight.take() else { return };
        let (at, severity) = (now.monotonic, entry.stored.severity);
        self.tokens.landed(at);
        match outcome {
            Outcome::Accepted => {
                self.forget(&entry, batch);
                self.remember(&entry, batch);
                self.acknowledged = (batch.ticket(), at);
                self.stats.add(severity, DeliveryResult::Sent);
                self.works(batch);
            }
            Outcome::SlowDown(wait) => {
                self.pause(wait, now, jitter, batch);
                self.put_back(entry, batch);
            }
            Outcome::TryAgain(why) => {
                self.stats.add(severity, DeliveryResult::Retried);
                self.fails(&why, at, jitter);
                self.put_back(entry, batch);
            }
            Outcome::Unclear(why) => {
                self.stats.add(severity, DeliveryResult::Retried);
                let others_work = entry.refusals > 0 && matches!(self.health, Health::Up);
                entry.refusals = entry.refusals.saturating_add(1);
                // A step longer than the channel waits, so that another shows whether it is the channel.
                let wait = self.settings.backoff.after(entry.refusals.saturating_add(1), jitter);
                entry.not_before = at + wait;
                if !others_work {
                    self.fails(&why, at, jitter);
                }
                self.put_back(entry, batch);
            }
            Outcome::Reformat(why) if entry.plain => {
                self.acknowledged = (batch.ticket(), at);
                self.give_up(&entry, &why, batch);
            }
            Outcome::Reformat(_) => {
                self.stats.add(severity, DeliveryResult::Retried);
                entry.plain = true;
                self.put_back(entry, batch);
            }
            Outcome::Moved if !entry.moved => {
                entry.moved = true;
                self.put_back(entry, batch);
            }
            Outcome::Moved => {
                self.dies(Failure::new("its address changes all the time"), at);
                self.put_back(entry, batch);
            }
            Outcome::Dead(why) => {
                self.dies(why, at);
                self.put_back(entry, batch);
            }
        }
    }

    /// Takes note of what became of a test. Whoever asked for it is told of a failure; a channel is down by the messages
    /// that it does not take.
    pub(super) fn learn(&mut self, outcome: &Outcome, now: Now, jitter: f64, batch: &mut Batch<'_>) {
        self.tokens.landed(now.monotonic);
        match outcome {
            Outcome::Accepted => self.works(batch),
            Outcome::SlowDown(wait) => self.pause(*wait, now, jitter, batch),
            _ => {}
        }
    }

    /// Asks for a token out of turn; the time until there is one otherwise. Never during a pause.
    pub(super) fn take_token(&mut self, now: Now) -> Result<(), Pausing> {
        let pause = self.not_before.saturating_sub(now.monotonic);
        if !pause.is_zero() {
            return Err(Pausing::Asked(pause));
        }
        self.tokens.take(now.monotonic, Urgency::Critical).map_err(Pausing::Pace)
    }

    fn works(&mut self, batch: &mut Batch<'_>) {
        if !matches!(self.health, Health::Up) {
            tracing::info!(target: "trading_telemetry", channel = self.channel, "alert_channel_recovered");
            self.all_in_turn();
        }
        self.health = Health::Up;
        self.stats.set_up(true);
        batch.remove(Table::NotBefore, self.channel);
    }

    /// What was refused may have been the channel's fault, and comes before what is newer.
    fn all_in_turn(&mut self) {
        self.queue.iter_mut().for_each(|entry| entry.not_before = Duration::ZERO);
    }

    fn fails(&mut self, why: &Failure, at: Duration, jitter: f64) {
        let failures = match &self.health {
            Health::Failing { failures, .. } => failures.saturating_add(1),
            Health::Up | Health::Idle | Health::Dead { .. } => 1,
        };
        if failures == 1 {
            let reason = why.to_string();
            tracing::warn!(target: "trading_telemetry", channel = self.channel, reason, "alert_channel_failing");
        }
        self.health =
            Health::Failing { failures, retry_at: at + self.settings.backoff.after(failures, jitter) };
        self.stats.set_up(false);
    }

    fn dies(&mut self, why: Failure, at: Duration) {
        if !matches!(self.health, Health::Dead { .. }) {
            let reason = why.to_string();
            tracing::error!(target: "trading_telemetry", channel = self.channel, reason, "alert_channel_dead");
        }
        self.health = Health::Dead { why, probe_at: at + self.settings.probe };
        self.stats.set_up(false);
    }

    fn pause(&mut self, wait: Option<Duration>, now: Now, jitter: f64, batch: &mut Batch<'_>) {
        // A service that does not say how long has had enough for more than a moment.
        const UNSAID: Duration = Duration::from_secs(30);
        const LEAST: Duration = Duration::from_secs(1);
        let length = wait.unwrap_or(UNSAID).max(LEAST).min(self.settings.longest_pause)
            + Duration::from_secs_f64(jitter.clamp(0.0, 1.0));
        self.not_before = now.monotonic + length;
        let until = now.wall.saturating_add(length).unwrap_or(now.wall);
        if let Ok(bytes) = serde_json::to_vec(&Pause { until, length }) {
            batch.put(Table::NotBefore, self.channel, bytes);
        }
    }

    /// Puts the message in flight back to where it was; what happened to its incident meanwhile becomes part of it.
    fn put_back(&mut self, mut entry: Entry, batch: &mut Batch<'_>) {
        let newer = self.queue.iter().position(|waiting| entry.is_continued_by(&waiting.stored.event));
        if let Some(newer) = newer.and_then(|index| self.queue.remove(index)) {
            batch.remove(Table::Unsent, &newer.key(self.channel));
            entry.absorb(newer);
            batch.put(Table::Unsent, &entry.key(self.channel), entry.bytes());
            entry.ticket = batch.ticket();
        }
        self.queue.push_front(entry);
    }

    /// When a critical message will have waited so long that the others must know.
    fn trouble_at(&self) -> Option<Duration> {
        let waits_since = self.queue.iter().chain(&self.in_flight).filter(|entry| entry.is_critical());
        waits_since.map(|entry| entry.began).min().map(|began| began + self.settings.unsent_critical_after)
    }

    /// What the other channels must learn: the incident that this channel is opens or ends.
    pub(super) fn signal(&mut self, now: Now) -> Option<Event> {
        let late = self.trouble_at().is_some_and(|at| now.monotonic >= at);
        let trouble = match &self.health {
            Health::Dead { why, .. } => Some(why.to_string()),
            _ if late => Some("critical alerts wait".to_owned()),
            _ => None,
        };
        match (&self.trouble, trouble) {
            (None, Some(why)) => {
                let event = own::trouble(self.channel, &why, self.others.clone(), now.wall);
                self.trouble = Some(event.clone());
                Some(event)
            }
            (Some(open), None) => {
                let message = match &self.health {
                    Health::Up => "The channel takes messages again.",
                    Health::Idle => {
                        "Nothing waits for the channel any more. The next message will show whether it works."
                    }
                    // While it fails, nobody has seen it recover.
                    Health::Failing { .. } | Health::Dead { .. } => return None,
                };
                let over = own::over(open, message, now.wall);
                self.trouble = None;
                Some(over)
            }
            _ => None,
        }
    }

    pub(super) fn snapshot(&self, now: Duration) -> QueueSnapshot {
        let all = || self.queue.iter().chain(&self.in_flight);
        QueueSnapshot {
            length: all().count(),
            oldest: all().map(|entry| entry.age(now)).max(),
            oldest_critical: all().filter(|entry| entry.is_critical()).map(|entry| entry.age(now)).max(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none()
    }
}

fn told_key(channel: &str, incident: &str) -> String {
    format!("{channel}/{incident}")
}

/// Why a message out of turn has to wait.
pub(super) enum Pausing {
    /// The service asked for a pause.
    Asked(Duration),
    /// Our own pace.
    Pace(Duration),
}
