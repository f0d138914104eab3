//! What delivery itself has to tell people: that a channel is in trouble, that messages were dropped, that the outbox
//! is not on disk.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::Record;
use super::entry::EntryId;
use super::pace::random;
use crate::alerts::channels::Failure;
use crate::alerts::event::{AlertSeverity, Event, EventKind, MetadataValue};
use crate::alerts::outbox::{Contents, Table};

/// The rules of the incidents that are delivery's own.
const CHANNEL: &str = "alert_channel";
const OUTBOX: &str = "alert_outbox";

/// An id that sorts by time, and within a moment of this process by number: what waits is taken up again in its order.
pub(super) fn new_id(wall: Timestamp) -> EntryId {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let micros = u64::try_from(wall.as_microsecond()).unwrap_or_default();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    (EntryId::from(micros) << 64) | (EntryId::from(number) << 32) | EntryId::from(random() >> 32)
}

fn event(kind: EventKind, severity: AlertSeverity, title: String, message: String, at: Timestamp) -> Event {
    Event { title, message, ..Event::new(format!("{:032x}", new_id(at)), kind, severity, at) }
}

/// The message of `test_channel`.
pub(in crate::alerts) fn test(channel: &str, at: Timestamp) -> Event {
    let message = "This is how an alert arrives here. Nothing has happened.".to_owned();
    let mut event = event(EventKind::Test, AlertSeverity::Info, "Test alert".into(), message, at);
    event.metadata.push(("channel".into(), MetadataValue::from(channel)));
    event.channels = Some(vec![channel.to_owned()]);
    event
}

/// That `channel` takes no messages, for the `others`.
pub(super) fn trouble(channel: &str, why: &str, others: Vec<String>, at: Timestamp) -> Event {
    let title = format!("Alert channel {channel} is not delivering");
    let mut event = event(EventKind::Opened, AlertSeverity::Critical, title, format!("Reason: {why}"), at);
    event.rule = Some(CHANNEL.into());
    event.labels = vec![("channel".into(), channel.to_owned())];
    event.channels = Some(others);
    event
}

/// The key of the record of an incident of delivery itself: it is open as long as the record is there.
pub(super) fn key(event: &Event) -> String {
    let labels = event.labels.iter().map(|(_, value)| value.as_str());
    event.rule.as_deref().into_iter().chain(labels).collect::<Vec<_>>().join("/")
}

/// The record of an incident of delivery itself, with which a later process goes on.
pub(super) fn record(event: &Event) -> Record {
    let value = event.is_open().then(|| serde_json::to_vec(event).unwrap_or_default());
    Record { table: Table::Own, key: key(event), value }
}

/// The incidents of delivery itself that are open in `contents`.
pub(super) fn open(contents: &Contents) -> impl Iterator<Item = Event> {
    contents.of(Table::Own).filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
}

/// Whether it is that of [`unsafe_outbox`].
pub(super) fn is_of_outbox(event: &Event) -> bool {
    event.rule.as_deref() == Some(OUTBOX)
}

/// Whether it is that of [`trouble`] with `channel`.
pub(super) fn is_of_channel(event: &Event, channel: &str) -> bool {
    event.rule.as_deref() == Some(CHANNEL) && event.labels.iter().any(|(_, value)| value == channel)
}

/// That the incident `open` is over.
pub(super) fn over(open: &Event, message: &str, at: Timestamp) -> Event {
    let duration = Duration::try_from(at.duration_since(open.since)).unwrap_or_default();
    Event { kind: EventKind::Resolved, message: message.to_owned(), at, duration, ..open.clone() }
}

/// That alerts are kept in memory alone.
pub(super) fn unsafe_outbox(why: &str, at: Timestamp) -> Event {
    let message = format!("Alerts are kept in memory only and would not survive a crash. Reason: {why}");
    let mut event =
        event(EventKind::Opened, AlertSeverity::Critical, "Alert outbox not writable".into(), message, at);
    event.rule = Some(OUTBOX.into());
    event
}

/// That a damaged outbox was found.
pub(super) fn damaged_outbox(file: &str, at: Timestamp) -> Event {
    let message =
        "The alert outbox was damaged. Alerts that the last run had not sent may be lost.".to_owned();
    let mut event =
        event(EventKind::Direct, AlertSeverity::Warning, "Alert outbox damaged".into(), message, at);
    event.metadata.push(("kept_as".into(), MetadataValue::from(file)));
    event
}

/// That the queue of `channel` had no room.
pub(super) fn dropped(channel: &str, number: u64, at: Timestamp) -> Event {
    let message =
        format!("The queue of {channel} was full: {number} messages were dropped, the mildest first.");
    let mut event =
        event(EventKind::Direct, AlertSeverity::Warning, "Alerts were dropped".into(), message, at);
    event.metadata.push(("dropped".into(), MetadataValue::Int(i64::try_from(number).unwrap_or(i64::MAX))));
    event.channels = Some(vec![channel.to_owned()]);
    event
}

/// What a channel never took ends in the log.
pub(super) fn log_undeliverable(channel: &str, event: &Event, why: &Failure) {
    tracing::error!(
        target: "trading_telemetry",
        channel,
        severity = event.severity.as_str(),
        title = event.title,
        text = event.message,
        incident = event.incident,
        reason = %why,
        "alert_undeliverable"
    );
}
