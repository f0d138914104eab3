//! What delivery itself has to tell people: that a channel is in trouble, that messages were dropped, that the outbox
//! is not on disk.

use std::time::Duration;

use jiff::Timestamp;

use super::entry::EntryId;
use super::pace::random;
use crate::alerts::channels::Failure;
use crate::alerts::event::{AlertSeverity, Event, EventKind, MetadataValue};

/// An id that sorts by time.
pub(super) fn new_id(wall: Timestamp) -> EntryId {
    let micros = u64::try_from(wall.as_microsecond()).unwrap_or_default();
    (EntryId::from(micros) << 64) | EntryId::from(random())
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
    event.rule = Some("alert_channel".into());
    event.labels = vec![("channel".into(), channel.to_owned())];
    event.channels = Some(others);
    event
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
    event.rule = Some("alert_outbox".into());
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
