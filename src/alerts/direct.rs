//! Alerts that a service sends by itself: the same one is sent once within a window, with a count.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{AlertSeverity, Event, EventKind, MetadataValue};
use super::incident::incident_id;

/// How many different alerts are remembered; beyond it the oldest is told with its count and forgotten, and would be sent
/// again.
const REMEMBERED: usize = 1024;

/// An alert that a service sends by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectAlert {
    /// How bad it is.
    pub severity: AlertSeverity,
    /// The title.
    pub title: String,
    /// The message.
    pub message: String,
    /// More to know, in this order.
    pub metadata: Vec<(String, MetadataValue)>,
    /// What makes two of them the same; without it severity, title and message do.
    pub key: Option<String>,
    /// The rule whose incident it joins.
    pub rule: Option<String>,
    /// Which of the rule's series, where there are several: those that carry these labels.
    pub labels: Vec<(String, String)>,
    /// The channels, in place of the routes in the settings.
    pub channels: Option<Vec<String>>,
    /// The order that was current.
    pub order_id: Option<String>,
    /// The trace that was current, in hex.
    pub trace_id: Option<String>,
}

impl DirectAlert {
    /// An alert with a title and a message.
    pub fn new(severity: AlertSeverity, title: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity,
            title: title.into(),
            message: message.into(),
            metadata: Vec::new(),
            key: None,
            rule: None,
            labels: Vec::new(),
            channels: None,
            order_id: None,
            trace_id: None,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let same_text =
            (self.severity, &self.title, &self.message) == (other.severity, &other.title, &other.message);
        // A critical alert with a new text is news whatever its key says.
        match (&self.key, &other.key) {
            (Some(a), Some(b)) if self.severity.max(other.severity) < AlertSeverity::Critical => a == b,
            (a, b) => a == b && same_text,
        }
    }

    fn event(&self, count: u32, wall: Timestamp, sequence: u64) -> Event {
        Event {
            rule: self.rule.clone(),
            title: self.title.clone(),
            message: self.message.clone(),
            metadata: self.metadata.clone(),
            labels: self.labels.clone(),
            order_id: self.order_id.clone(),
            trace_id: self.trace_id.clone(),
            count,
            channels: self.channels.clone(),
            ..Event::new(incident_id(wall, sequence), EventKind::Direct, self.severity, wall)
        }
    }
}

/// Folds the same alert within a window into one.
#[derive(Debug)]
pub struct Deduplicator {
    window: Duration,
    recent: VecDeque<Recent>,
    /// What had to make room for others and still has a count to tell.
    crowded_out: Vec<Recent>,
    /// Keys of windows that are over and may still be stored.
    over: Vec<String>,
}

/// A window of duplicates.
#[derive(Debug)]
struct Recent {
    /// Of its record: the id of its first event.
    key: String,
    stored: StoredWindow,
    /// When it ends.
    until: Duration,
    /// Whether the record is not as it should be.
    is_changed: bool,
}

/// A window of duplicates as it is stored: for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredWindow {
    alert: DirectAlert,
    folded: u32,
    /// When it began, by the wall clock.
    since: Timestamp,
}

impl Deduplicator {
    /// Folds within `window` of the alert that was sent.
    pub fn new(window: Duration) -> Self {
        Self { window, recent: VecDeque::new(), crowded_out: Vec::new(), over: Vec::new() }
    }

    /// Goes on with the windows that an earlier process stored, by their keys. A wall clock that has jumped back since
    /// makes none longer than a whole one.
    pub fn restore(
        &mut self,
        stored: impl IntoIterator<Item = (String, StoredWindow)>,
        now: Duration,
        wall: Timestamp,
    ) {
        for (key, stored) in stored {
            let age = Duration::try_from(wall.duration_since(stored.since)).unwrap_or_default();
            let until = now.saturating_add(self.window.saturating_sub(age));
            self.recent.push_back(Recent { key, stored, until, is_changed: false });
        }
    }

    /// What has to be stored since the last call, by key; `None` removes.
    pub fn take_changes(&mut self) -> Vec<(String, Option<StoredWindow>)> {
        let over = std::mem::take(&mut self.over).into_iter().map(|key| (key, None));
        let changed = self.recent.iter_mut().filter_map(|recent| {
            let is_changed = std::mem::take(&mut recent.is_changed);
            is_changed.then(|| (recent.key.clone(), Some(recent.stored.clone())))
        });
        over.chain(changed).collect()
    }

    /// The event to send now, or `None` where the alert was folded into one that was sent before.
    pub fn admit(
        &mut self,
        alert: &DirectAlert,
        now: Duration,
        wall: Timestamp,
        sequence: u64,
    ) -> Option<Event> {
        let until = now.saturating_add(self.window);
        let stored = StoredWindow { alert: alert.clone(), folded: 0, since: wall };
        if let Some(recent) = self.recent.iter_mut().find(|recent| recent.stored.alert.is_same(alert)) {
            recent.is_changed = true;
            let folded = recent.stored.folded.saturating_add(1);
            if now < recent.until {
                // The last one's figures are the ones worth reading.
                recent.stored = StoredWindow { folded, since: recent.stored.since, ..stored };
                return None;
            }
            // `due` has not run since the window ended: this one tells of those before it.
            (recent.stored, recent.until) = (stored, until);
            return Some(alert.event(folded, wall, sequence));
        }
        if self.recent.len() >= REMEMBERED {
            self.crowded_out.extend(self.recent.pop_front());
        }
        let event = alert.event(1, wall, sequence);
        self.recent.push_back(Recent { key: event.incident.clone(), stored, until, is_changed: true });
        Some(event)
    }

    /// The events whose window is over, or had to end: one for all that were folded in it. `sequence` is called for each.
    pub fn due(&mut self, now: Duration, wall: Timestamp, mut sequence: impl FnMut() -> u64) -> Vec<Event> {
        let mut events = self.tell_crowded_out(wall, &mut sequence);
        let Self { window, recent, over, .. } = self;
        recent.retain_mut(|recent| {
            if now < recent.until {
                return true;
            }
            let Some(event) = recent.tell(wall, &mut sequence) else {
                over.push(std::mem::take(&mut recent.key));
                return false;
            };
            events.push(event);
            recent.stored.since = wall;
            recent.until = now.saturating_add(*window);
            true
        });
        events
    }

    /// When [`Self::due`] has something to say next.
    pub fn next_due(&self) -> Option<Duration> {
        self.recent.iter().filter(|recent| recent.stored.folded > 0).map(|recent| recent.until).min()
    }

    /// The folded alerts that no event has told of yet: what a shutdown has to send. Their windows go on.
    pub fn drain(&mut self, wall: Timestamp, mut sequence: impl FnMut() -> u64) -> Vec<Event> {
        let mut events = self.tell_crowded_out(wall, &mut sequence);
        events.extend(self.recent.iter_mut().filter_map(|recent| recent.tell(wall, &mut sequence)));
        events
    }

    fn tell_crowded_out(&mut self, wall: Timestamp, mut sequence: impl FnMut() -> u64) -> Vec<Event> {
        let mut events = Vec::new();
        for mut recent in self.crowded_out.drain(..) {
            events.extend(recent.tell(wall, &mut sequence));
            self.over.push(recent.key);
        }
        events
    }
}

impl Recent {
    /// One event for what was folded, if anything was.
    fn tell(&mut self, wall: Timestamp, mut sequence: impl FnMut() -> u64) -> Option<Event> {
        let folded = std::mem::take(&mut self.stored.folded);
        if folded == 0 {
            return None;
        }
        self.is_changed = true;
        Some(self.stored.alert.event(folded, wall, sequence()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    fn alert(severity: AlertSeverity, message: &str) -> DirectAlert {
        DirectAlert::new(severity, "Job", message)
    }

    fn at(deduplicator: &mut Deduplicator, second: u64, alert: &DirectAlert) -> Option<u32> {
        let now = Duration::from_secs(second);
        deduplicator.admit(alert, now, Timestamp::UNIX_EPOCH, second).map(|event| event.count)
    }

    #[test]
    fn the_same_alert_is_sent_once_a_window_and_then_with_its_count() {
        let mut deduplicator = Deduplicator::new(WINDOW);
        let failed = alert(AlertSeverity::Warning, "failed");
        assert_eq!(at(&mut deduplicator, 0, &failed), Some(1));
        for second in 1..=17 {
            assert_eq!(at(&mut deduplicator, second, &failed), None);
        }
        assert_eq!(deduplicator.next_due(), Some(WINDOW));
        assert!(deduplicator.due(Duration::from_secs(299), Timestamp::UNIX_EPOCH, || 1).is_empty());
        let due = deduplicator.due(WINDOW, Timestamp::UNIX_EPOCH, || 1);
        assert_eq!(due.iter().map(|event| event.count).collect::<Vec<_>>(), [17]);
        assert!(deduplicator.due(WINDOW * 2, Timestamp::UNIX_EPOCH, || 2).is_empty(), "told once");
        assert_eq!(at(&mut deduplicator, 601, &failed), Some(1), "and forgotten");
    }

    #[test]
    fn a_key_makes_texts_the_same_but_a_critical_one_with_a_new_text_is_sent() {
        let mut deduplicator = Deduplicator::new(WINDOW);
        let keyed = |severity, message| DirectAlert { key: Some("k".into()), ..alert(severity, message) };
        assert_eq!(at(&mut deduplicator, 0, &keyed(AlertSeverity::Warning, "1 left")), Some(1));
        assert_eq!(at(&mut deduplicator, 1, &keyed(AlertSeverity::Warning, "2 left")), None);
        assert_eq!(at(&mut deduplicator, 2, &keyed(AlertSeverity::Critical, "3 left")), Some(1));
        assert_eq!(at(&mut deduplicator, 3, &keyed(AlertSeverity::Critical, "4 left")), Some(1));
        assert_eq!(at(&mut deduplicator, 4, &keyed(AlertSeverity::Critical, "4 left")), None);
    }

    #[test]
    fn a_shutdown_tells_what_was_folded() {
        let mut deduplicator = Deduplicator::new(WINDOW);
        let failed = alert(AlertSeverity::Info, "failed");
        at(&mut deduplicator, 0, &failed);
        at(&mut deduplicator, 1, &failed);
        assert_eq!(deduplicator.drain(Timestamp::UNIX_EPOCH, || 3).len(), 1);
        assert!(deduplicator.drain(Timestamp::UNIX_EPOCH, || 3).is_empty());
        assert_eq!(at(&mut deduplicator, 2, &failed), None, "its window goes on, in the next process too");
    }

    #[test]
    fn the_next_process_goes_on_with_the_windows_and_their_counts() {
        let wall = |second: i64| Timestamp::from_second(1_700_000_000 + second).expect("in range");
        let failed = alert(AlertSeverity::Critical, "failed");
        let mut before = Deduplicator::new(WINDOW);
        assert!(before.admit(&failed, Duration::ZERO, wall(0), 1).is_some());
        assert!(before.admit(&failed, Duration::from_secs(100), wall(100), 2).is_none());
        let mut changes = before.take_changes();
        assert!(before.take_changes().is_empty());
        let stored: Vec<_> =
            changes.drain(..).map(|(key, stored)| (key, stored.expect("it lasts"))).collect();

        // Two minutes in, on a clock that begins anew; an hour later; an hour earlier.
        for (at, left) in [(120, 180), (3_600, 0), (-3_600, 300)] {
            let mut after = Deduplicator::new(WINDOW);
            after.restore(stored.clone(), Duration::from_secs(7), wall(at));
            assert_eq!(after.next_due(), Some(Duration::from_secs(7 + left)), "{at}");
            let due = after.due(Duration::from_secs(7 + left), wall(at), || 3);
            assert_eq!(due.iter().map(|event| event.count).collect::<Vec<_>>(), [1], "{at}");
            // Told, and over with the next window: its record goes.
            assert!(after.due(Duration::from_secs(7 + left) + WINDOW, wall(at), || 4).is_empty());
            assert_eq!(after.take_changes(), [(stored[0].0.clone(), None)]);
        }
    }

    #[test]
    fn what_has_to_make_room_for_others_is_told_with_its_count() {
        let mut deduplicator = Deduplicator::new(WINDOW);
        let failed = alert(AlertSeverity::Warning, "failed");
        for second in 0..18 {
            at(&mut deduplicator, second, &failed);
        }
        for number in 0..1_100 {
            at(&mut deduplicator, 20, &alert(AlertSeverity::Info, &number.to_string()));
        }
        let due = deduplicator.due(Duration::from_secs(20), Timestamp::UNIX_EPOCH, || 1);
        assert_eq!(
            due.iter().map(|event| (&*event.message, event.count)).collect::<Vec<_>>(),
            [("failed", 17)]
        );
        assert!(deduplicator.due(Duration::from_secs(21), Timestamp::UNIX_EPOCH, || 2).is_empty(), "once");
    }

    #[test]
    fn memory_is_bounded() {
        let mut deduplicator = Deduplicator::new(WINDOW);
        for number in 0..5_000 {
            at(&mut deduplicator, 0, &alert(AlertSeverity::Info, &number.to_string()));
        }
        assert_eq!(deduplicator.recent.len(), REMEMBERED);
        assert!(
            deduplicator.due(Duration::ZERO, Timestamp::UNIX_EPOCH, || 1).is_empty(),
            "nothing was folded"
        );
        assert_eq!(deduplicator.take_changes().len(), 5_000, "and so is what is stored");
    }
}
