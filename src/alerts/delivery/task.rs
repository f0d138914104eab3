//! The task of one channel: it waits, sends, and lets its [`Lane`] decide.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::Inner;
use super::entry::Entry;
use super::lane::{Lane, Next, Pausing};
use super::own;
use super::pace::jitter;
use super::settings::DeliverySettings;
use super::stats::ChannelStats;
use crate::alerts::channels::{Channel, ChannelError, Failure, LogChannel, Outcome};
use crate::alerts::event::Event;
use crate::alerts::message::Notice;
use crate::lock::lock;

/// A channel with its queue.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) name: &'static str,
    pub(super) stats: Arc<ChannelStats>,
    pub(super) wake: Notify,
    /// Replaced when it is set up anew.
    channel: Mutex<Arc<dyn Channel>>,
    lane: Mutex<Lane>,
}

impl Station {
    pub(super) fn new(
        channel: Arc<dyn Channel>,
        others: Vec<String>,
        settings: &Arc<DeliverySettings>,
        now: Duration,
    ) -> Self {
        let name = channel.name();
        let stats = Arc::new(ChannelStats::new(name));
        let lane = Lane::new(name, others, channel.pace(), Arc::clone(settings), Arc::clone(&stats), now);
        Self { name, stats, wake: Notify::new(), channel: Mutex::new(channel), lane: Mutex::new(lane) }
    }

    /// Goes on with `channel`. A request in flight ends with the old one.
    pub(super) fn set_up(&self, channel: Arc<dyn Channel>, others: Vec<String>, now: Duration) {
        self.lane().set_up(others, channel.pace(), now);
        *lock(&self.channel) = channel;
        self.wake.notify_one();
    }

    /// Locked after the outbox, never before it.
    pub(super) fn lane(&self) -> MutexGuard<'_, Lane> {
        lock(&self.lane)
    }

    /// Sends one message, once.
    async fn send(&self, notice: &Notice, limit: Duration) -> Outcome {
        let channel = Arc::clone(&lock(&self.channel));
        let sent = tokio::time::timeout(limit, channel.send(notice)).await;
        match sent.unwrap_or_else(|_| Outcome::TryAgain(Failure::new("no answer"))) {
            // That says nothing of the one that is in its place by now.
            Outcome::Dead(_) if !Arc::ptr_eq(&channel, &lock(&self.channel)) => Outcome::Moved,
            outcome => outcome,
        }
    }
}

/// Runs until a shutdown has drained what it can.
pub(super) async fn run(
    inner: Arc<Inner>,
    station: Arc<Station>,
    mut closing: watch::Receiver<Option<Duration>>,
) {
    let mut committed = inner.outbox.committed();
    loop {
        let until = *closing.borrow_and_update();
        let done = *committed.borrow_and_update();
        let (next, signal) = {
            let now = inner.now();
            let mut batch = inner.outbox.begin();
            let mut lane = station.lane();
            let next = lane.next(now, done, &mut batch);
            (next, lane.signal(now))
        };
        inner.tell(signal);
        match next {
            Next::Send(entry) => {
                let notice =
                    entry.notice(inner.now().monotonic, inner.settings.delayed_after, &inner.settings.origin);
                let Some(outcome) = send(&inner, &station, &notice, until, &mut closing).await else {
                    return;
                };
                let now = inner.now();
                let signal = {
                    let mut batch = inner.outbox.begin();
                    let mut lane = station.lane();
                    lane.settle(outcome, now, jitter(), &mut batch);
                    lane.signal(now)
                };
                inner.tell(signal);
            }
            Next::Wait { until: wake, for_disk } => {
                if let Some(deadline) = until {
                    let out_of_time = inner.clock.monotonic() >= deadline;
                    let nothing_before = !for_disk && wake.is_none_or(|wake| wake >= deadline);
                    if station.lane().is_empty() || out_of_time || nothing_before {
                        return;
                    }
                }
                let wake = [wake, until].into_iter().flatten().min();
                tokio::select! {
                    () = station.wake.notified() => {}
                    _ = committed.changed() => {}
                    _ = closing.changed() => {}
                    () = sleep_until(&inner, wake) => {}
                }
            }
        }
    }
}

/// Sleeps until the clock shows `wake`; for ever without.
async fn sleep_until(inner: &Inner, wake: Option<Duration>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake.saturating_sub(inner.clock.monotonic())).await,
        None => std::future::pending().await,
    }
}

/// Sends one message; `None` when the deadline of a shutdown came first.
async fn send(
    inner: &Inner,
    station: &Station,
    notice: &Notice,
    until: Option<Duration>,
    closing: &mut watch::Receiver<Option<Duration>>,
) -> Option<Outcome> {
    let began = inner.clock.monotonic();
    let deadline = async {
        let until = match until {
            Some(until) => Some(until),
            None => match closing.wait_for(Option::is_some).await {
                Ok(until) => *until,
                // Without a handle there is no shutdown either.
                Err(_) => None,
            },
        };
        sleep_until(inner, until).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = station.send(notice, inner.settings.send_limit) => outcome,
        () = deadline => return None,
    };
    station.stats.attempted(inner.clock.monotonic().saturating_sub(began));
    Some(outcome)
}

impl Inner {
    /// Sends a test message beside what waits, within the channel's pace, and without a second try.
    pub(super) async fn test(&self, channel: &str) -> Result<(), ChannelError> {
        let event = own::test(channel, self.clock.wall());
        if channel == LogChannel::NAME {
            self.log.write(&event);
            return Ok(());
        }
        let station = self.station(channel).ok_or_else(|| ChannelError::unknown(channel))?;
        loop {
            let pausing = station.lane().take_token(self.now());
            match pausing {
                Ok(()) => break,
                Err(Pausing::Asked(wait)) => return Err(ChannelError::paused(channel, wait)),
                Err(Pausing::Pace(wait)) => tokio::time::sleep(wait).await,
            }
        }
        let notice = Notice::new(event, Arc::clone(&self.settings.origin));
        let mut outcome = station.send(&notice, self.settings.send_limit).await;
        // A chat that has moved is where the test belongs.
        if outcome == Outcome::Moved {
            outcome = station.send(&notice, self.settings.send_limit).await;
        }
        {
            let mut batch = self.outbox.begin();
            station.lane().learn(&outcome, self.now(), jitter(), &mut batch);
        }
        station.wake.notify_one();
        ChannelError::of(channel, outcome).map_or(Ok(()), Err)
    }

    /// Tells of an incident of delivery itself, and keeps it as long as it is open.
    pub(super) fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            let record = own::record(&event);
            self.record([event], &[record], Entry::new);
        }
    }
}
