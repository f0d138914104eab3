//! Alerts that a service sends by itself: the same one is sent once within a window, with a count.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::event::{AlertSeverity, Event, EventKind, MetadataValue};
use super::incident::incident_id;

/// How many different alerts are remembered; beyond it the oldest is forgotten, and would be sent again.
const REMEMBERED: usize = 1024;

/// An alert that a service sends by itself.
#[derive(Clone, Debug, PartialEq)]
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
}

#[derive(Debug)]
struct Recent {
    alert: DirectAlert,
    sent_at: Duration,
    folded: u32,
}

impl Deduplicator {
    /// Folds within `window` of the alert that was sent.
    pub fn new(window: Duration) -> Self {
        Self { window, recent: VecDeque::new() }
    }

    /// The event to send now, or `None` where the alert was folded into one that was sent before.
    pub fn admit(
        &mut self,
        alert: &DirectAlert,
        now: Duration,
        wall: Timestamp,
        sequence: u64,
    ) -> Option<Event> {
        let same = self.recent.iter_mut().find(|recent| recent.alert.is_same(alert));
        if let Some(recent) = same {
            if now.saturating_sub(recent.sent_at) < self.window {
                recent.folded = recent.folded.saturating_add(1);
                // The last one's figures are the ones worth reading.
                recent.alert.clone_from(alert);
                return None;
            }
            // `due` has not run since the window ended: this one tells of those before it.
            let count = recent.folded.saturating_add(1);
            *recent = Recent { alert: alert.clone(), sent_at: now, folded: 0 };
            return Some(alert.event(count, wall, sequence));
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { alert: alert.clone(), sent_at: now, folded: 0 });
        Some(alert.event(1, wall, sequence))
    }

    /// The events whose window is over: one for all that were folded in it. `sequence` is called for each.
    pub fn due(&mut self, now: Duration, wall: Timestamp, mut sequence: impl FnMut() -> u64) -> Vec<Event> {
        let mut events = Vec::new();
        let window = self.window;
        self.recent.retain_mut(|recent| {
            if now.saturating_sub(recent.sent_at) < window {
                return true;
            }
            if recent.folded == 0 {
                return false;
            }
            events.push(recent.alert.event(recent.folded, wall, sequence()));
            recent.sent_at = now;
            recent.folded = 0;
            true
        });
        events
    }

    /// When [`Self::due`] has something to say next.
    pub fn next_due(&self) -> Option<Duration> {
        self.recent
            .iter()
            .filter(|recent| recent.folded > 0)
            .map(|recent| recent.sent_at.saturating_add(self.window))
            .min()
    }

    /// The folded alerts that no event has told of yet: what a shutdown has to send.
    pub fn drain(&mut self, wall: Timestamp, mut sequence: impl FnMut() -> u64) -> Vec<Event> {
        self.recent
            .drain(..)
            .filter(|recent| recent.folded > 0)
            .map(|recent| recent.alert.event(recent.folded, wall, sequence()))
            .collect()
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
    }

    #[test]
    fn memory_is_bounded() {
        let mut deduplicator = Deduplicator::new(WINDOW);
        for number in 0..5_000 {
            at(&mut deduplicator, 0, &alert(AlertSeverity::Info, &number.to_string()));
        }
        assert_eq!(deduplicator.recent.len(), REMEMBERED);
    }
}
