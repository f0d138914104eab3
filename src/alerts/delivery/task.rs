//! The task of one channel: it waits, sends, and lets its [`Lane`] decide.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::Inner;
use super::entry::Entry;
use super::lane::{Lane, Next, Pausing};
use super::own;
use super::pace::jitter;
use super::stats::ChannelStats;
use crate::alerts::channels::{Channel, ChannelError, Failure, Outcome};
use crate::alerts::event::Event;
use crate::alerts::message::Notice;
use crate::lock::lock;

/// A channel with its queue.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) channel: Arc<dyn Channel>,
    pub(super) stats: Arc<ChannelStats>,
    pub(super) wake: Notify,
    pub(super) tests: mpsc::UnboundedSender<Test>,
    lane: Mutex<Lane>,
}

/// Somebody waits for the result of a test message.
pub(super) type Test = oneshot::Sender<Result<(), ChannelError>>;

impl Station {
    pub(super) fn new(
        channel: Arc<dyn Channel>,
        lane: Lane,
        stats: Arc<ChannelStats>,
    ) -> (Self, mpsc::UnboundedReceiver<Test>) {
        let (tests, asked) = mpsc::unbounded_channel();
        (Self { channel, stats, wake: Notify::new(), tests, lane: Mutex::new(lane) }, asked)
    }

    /// Locked after the outbox, never before it.
    pub(super) fn lane(&self) -> MutexGuard<'_, Lane> {
        lock(&self.lane)
    }
}

/// Runs until a shutdown has drained what it can.
pub(super) async fn run(
    inner: Arc<Inner>,
    index: usize,
    mut tests: mpsc::UnboundedReceiver<Test>,
    mut closing: watch::Receiver<Option<Duration>>,
) {
    let Some(station) = inner.stations.get(index) else { return };
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
                let Some(outcome) = send(&inner, station, &notice, until, &mut closing).await else { return };
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
                    Some(asked) = tests.recv() => test(&inner, station, asked).await,
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
    let sending = tokio::time::timeout(inner.settings.send_limit, station.channel.send(notice));
    let outcome = tokio::select! {
        biased;
        outcome = sending => outcome.unwrap_or_else(|_| Outcome::TryAgain(Failure::new("no answer"))),
        () = deadline => return None,
    };
    station.stats.attempted(inner.clock.monotonic().saturating_sub(began));
    Some(outcome)
}

/// Sends a test message out of turn, within the channel's pace, and without a second try.
async fn test(inner: &Inner, station: &Station, asked: Test) {
    let name = station.channel.name();
    loop {
        // Whoever asked may have waited long enough.
        if asked.is_closed() {
            return;
        }
        let pausing = station.lane().take_token(inner.now());
        match pausing {
            Ok(()) => break,
            Err(Pausing::Asked(wait)) => {
                let _ = asked.send(Err(ChannelError::paused(name, wait)));
                return;
            }
            Err(Pausing::Pace(wait)) => tokio::time::sleep(wait).await,
        }
    }
    let event = own::test(name, inner.clock.wall());
    let notice = Notice::new(event, Arc::clone(&inner.settings.origin));
    let mut outcome = Outcome::Moved;
    // A chat that has moved is where the test belongs.
    for _ in 0..2 {
        let sending = tokio::time::timeout(inner.settings.send_limit, station.channel.send(&notice));
        outcome = sending.await.unwrap_or_else(|_| Outcome::TryAgain(Failure::new("no answer")));
        if outcome != Outcome::Moved {
            break;
        }
    }
    {
        let mut batch = inner.outbox.begin();
        station.lane().learn(&outcome, inner.now(), jitter(), &mut batch);
    }
    let _ = asked.send(ChannelError::of(name, outcome).map_or(Ok(()), Err));
}

impl Inner {
    /// Tells of an incident of delivery itself, and keeps it as long as it is open.
    pub(super) fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            let record = own::record(&event);
            self.record([event], &[record], Entry::new);
        }
    }
}
