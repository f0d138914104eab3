//! A message that waits, as it is stored.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alerts::event::{AlertSeverity, Event, EventKind};
use crate::alerts::message::{Notice, Origin, Story, in_words_unless_finite};
use crate::alerts::outbox::Ticket;
use crate::alerts::rule::KILL_SWITCH;

/// Sorts by time of birth; different in all processes.
pub(super) type EntryId = u128;

/// How much a message hurries. What hurries more overtakes, and of each burst a token is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// A warning or information.
    Ordinary,
    Critical,
    /// Whatever there is to tell about the kill switch's incident: nothing is before it, however much is critical.
    KillSwitch,
}

/// The newest state of one incident that a channel has not accepted, or one direct alert.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) stored: Stored,
    /// The monotonic time of the first event and of the newest.
    pub(super) began: Duration,
    pub(super) renewed: Duration,
    /// How old its first event was when this process found it; `None` for one that this process made.
    pub(super) found_at_age: Option<Duration>,
    /// The batch that it was stored with.
    pub(super) ticket: Ticket,
    /// The channel refused it in its full form.
    pub(super) plain: bool,
    /// How often the channel refused it for no clear reason, and until when it lets the others go first.
    pub(super) refusals: u32,
    pub(super) not_before: Duration,
    /// The channel was sent to another address with it.
    pub(super) moved: bool,
}

/// The part that survives the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) event: Event,
    pub(super) story: Story,
    /// The highest severity that it tells of: what it is worth.
    pub(super) severity: AlertSeverity,
    /// When its first event came, by delivery's own clock.
    pub(super) recorded: Timestamp,
    /// When its newest came.
    pub(super) renewed: Timestamp,
}

impl Entry {
    pub(super) fn new(id: EntryId, mut event: Event, now: Duration, wall: Timestamp) -> Self {
        in_words_unless_finite(&mut event.metadata);
        let (story, severity) = (Story::of(&event), event.severity);
        Self {
            id,
            stored: Stored { event, story, severity, recorded: wall, renewed: wall },
            began: now,
            renewed: now,
            found_at_age: None,
            ticket: 0,
            plain: false,
            refusals: 0,
            not_before: Duration::ZERO,
            moved: false,
        }
    }

    /// One of `event`, which an earlier process took and did not tell.
    pub(super) fn late(id: EntryId, event: Event, now: Duration, wall: Timestamp) -> Self {
        let at = event.at;
        let mut entry = Self::new(id, event, now, at);
        entry.found(wall);
        entry
    }

    /// One that an earlier process left. The wall clock may have jumped since: an age is never negative.
    pub(super) fn restore(key: &str, bytes: &[u8], now: Duration, wall: Timestamp) -> Option<Self> {
        let (_, id) = key.split_once('/')?;
        let id = EntryId::from_str_radix(id, 16).ok()?;
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let mut entry = Self::new(id, stored.event.clone(), now, stored.recorded);
        entry.stored = stored;
        entry.found(wall);
        Some(entry)
    }

    fn found(&mut self, wall: Timestamp) {
        self.found_at_age = Some(age(self.stored.recorded, wall));
    }

    /// Whether its newest event is older than `ttl` by the wall clock.
    pub(super) fn is_older_than(&self, ttl: Duration, wall: Timestamp) -> bool {
        age(self.stored.renewed, wall) >= ttl
    }

    /// The key of its record.
    pub(super) fn key(&self, channel: &str) -> String {
        format!("{channel}/{:032x}", self.id)
    }

    /// Its record.
    pub(super) fn bytes(&self) -> Vec<u8> {
        // Plain structures without maps always serialise.
        serde_json::to_vec(&self.stored).unwrap_or_default()
    }

    pub(super) fn is_critical(&self) -> bool {
        self.stored.severity == AlertSeverity::Critical
    }

    pub(super) fn urgency(&self) -> Urgency {
        let event = &self.stored.event;
        if event.kind.is_of_incident() && event.rule.as_deref() == Some(KILL_SWITCH) {
            Urgency::KillSwitch
        } else if self.is_critical() {
            Urgency::Critical
        } else {
            Urgency::Ordinary
        }
    }

    /// Whether `event` goes on with the incident of this message.
    pub(super) fn is_continued_by(&self, event: &Event) -> bool {
        let mine = &self.stored.event;
        mine.kind.is_of_incident() && event.kind.is_of_incident() && mine.incident == event.incident
    }

    /// Makes it the message of `later`, which tells of what it told, too.
    pub(super) fn absorb(&mut self, later: Self) {
        let Event { kind: told, silenced, .. } = self.stored.event;
        self.stored.story.extend(later.stored.story);
        self.stored.event = later.stored.event;
        self.stored.event.silenced &= silenced;
        // Nobody can be reminded of what was never said.
        if self.stored.event.kind == EventKind::Reminded {
            self.stored.event.kind = told;
        }
        self.stored.renewed = later.stored.renewed;
        self.stored.severity = self.stored.severity.max(later.stored.severity);
        self.renewed = later.renewed;
        self.ticket = later.ticket;
        self.plain = false;
        self.refusals = 0;
        self.not_before = Duration::ZERO;
    }

    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began) + self.found_at_age.unwrap_or_default()
    }

    /// When it is worth nothing any more. The wall clock has no say in it: it may have jumped while no process ran, and
    /// what was found is tried for as long as what is new.
    pub(super) fn expires(&self, ttl: Duration) -> Duration {
        self.renewed + ttl
    }

    pub(super) fn notice(&self, now: Duration, delayed_after: Duration, origin: &Arc<Origin>) -> Notice {
        let age = self.age(now);
        let late = self.found_at_age.is_some() || age >= delayed_after;
        Notice {
            event: self.stored.event.clone(),
            story: self.stored.story.clone(),
            delay: late.then_some(age),
            origin: Arc::clone(origin),
            plain: self.plain,
        }
    }
}

fn age(since: Timestamp, wall: Timestamp) -> Duration {
    Duration::try_from(wall.duration_since(since)).unwrap_or_default()
}
