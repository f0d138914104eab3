//! The parts of a message, and which of them give way when it is too long.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::event::{AlertSeverity, Event, EventKind, MetadataValue};
use super::Notice;
use super::text::{CUT, Dialect, figure, key_in_words, python_float, units_of};

const LONGEST_TITLE: usize = 800;
const LONGEST_KEY: usize = 64;
const LONGEST_VALUE: usize = 300;
/// Room for the line that says how many others were cut.
const LONGEST_MARK: usize = 24;

/// Everything a message says, escaped and short enough.
pub(super) struct Layout {
    /// The title with what stands for its kind: `✅ RESOLVED: Drawdown (×17)`.
    pub(super) title: String,
    /// The title behind severity or kind: `⚠️ CRITICAL: Kill Switch Activated`.
    pub(super) headline: String,
    /// The message, and the story; empty where there is neither.
    pub(super) body: String,
    /// `• VIX: 38.5`, one each.
    pub(super) lines: Vec<String>,
}

/// A line of the metadata.
struct Fact {
    key: String,
    value: String,
    rank: Rank,
}

/// Who gives way first when room is short.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Never gives way.
    Kept,
    /// What the engine knows.
    Known,
    /// What the service gave.
    Given,
}

impl Layout {
    /// Lays `notice` out in `limit` UTF-16 units, `frame` of which the channel needs for what it puts between the parts.
    pub(super) fn new(notice: &Notice, dialect: Dialect, limit: usize, frame: usize) -> Self {
        let (title, headline) = headings(notice, dialect);
        let story = notice.story.in_words(&notice.event).map(|story| dialect.escape(&story, LONGEST_TITLE));
        let facts = facts(notice);
        let line = |fact: &Fact| {
            let key = dialect.escape_line(&fact.key, LONGEST_KEY);
            format!("• {key}: {}", dialect.escape_line(&fact.value, LONGEST_VALUE))
        };
        let mut lines: Vec<(Rank, String)> = facts.iter().map(|fact| (fact.rank, line(fact))).collect();

        let gap = 2;
        let fixed = frame
            + LONGEST_MARK
            + units_of(&headline)
            + story.as_deref().map_or(0, |story| units_of(story) + gap)
            + lines
                .iter()
                .filter(|line| line.0 == Rank::Kept)
                .map(|line| units_of(&line.1) + 1)
                .sum::<usize>();
        let mut room = limit.saturating_sub(fixed);
        let mut body = dialect.escape(&notice.event.message, room.saturating_sub(gap));
        room = room.saturating_sub(units_of(&body) + gap);
        if let Some(story) = story {
            body = if body.is_empty() { story } else { format!("{body}\n\n{story}") };
        }
        drop_lines(&mut lines, room);
        Self { title, headline, body, lines: lines.into_iter().map(|line| line.1).collect() }
    }

    /// The lines under their heading; empty where there are none.
    pub(super) fn metadata(&self, heading: &str) -> String {
        if self.lines.is_empty() { String::new() } else { format!("{heading}\n{}", self.lines.join("\n")) }
    }
}

/// Takes lines out until the rest fits into `room`, those that the service gave first, and says how many.
fn drop_lines(lines: &mut Vec<(Rank, String)>, room: usize) {
    let cost = |line: &(Rank, String)| units_of(&line.1) + 1;
    let total =
        |lines: &[(Rank, String)]| lines.iter().filter(|line| line.0 != Rank::Kept).map(cost).sum::<usize>();
    if total(lines) <= room {
        return;
    }
    let (mut dropped, mut place) = (0, lines.len());
    while total(lines) > room {
        let Some(highest) = lines.iter().map(|line| line.0).max().filter(|rank| *rank != Rank::Kept) else {
            break;
        };
        let Some(last) = lines.iter().rposition(|line| line.0 == highest) else { break };
        lines.remove(last);
        place = last;
        dropped += 1;
    }
    lines.insert(place.min(lines.len()), (Rank::Kept, format!("• {CUT} {dropped} more")));
}

/// The title as it stands in a message's own first line, and behind the word for its severity.
fn headings(notice: &Notice, dialect: Dialect) -> (String, String) {
    let event = &notice.event;
    let mut before = notice.delay.map(delayed).unwrap_or_default();
    if event.kind == EventKind::Test {
        before.push_str("[TEST] ");
    }
    let mut title = dialect.escape_line(&event.title, LONGEST_TITLE);
    if title.is_empty() {
        title.push_str("(untitled)");
    }
    if event.count > 1 {
        let _ = write!(title, " (×{})", event.count);
    }
    let state = match event.kind {
        EventKind::Resolved => Some("✅ RESOLVED: ".to_owned()),
        EventKind::Reminded => Some(format!("🔁 STILL {}: ", event.severity.as_upper_str())),
        _ => None,
    };
    let spoken = state.clone().unwrap_or_else(|| {
        let emoji = match (dialect, event.severity) {
            (Dialect::Slack, AlertSeverity::Critical | AlertSeverity::Warning) => "\u{26a0}\u{fe0f}",
            (Dialect::Slack, AlertSeverity::Info) => "\u{2139}\u{fe0f}",
            (Dialect::Telegram, AlertSeverity::Critical) => "🔴",
            (Dialect::Telegram, AlertSeverity::Warning) => "🟡",
            (Dialect::Telegram, AlertSeverity::Info) => "🔵",
        };
        format!("{emoji} {}: ", event.severity.as_upper_str())
    });
    (format!("{before}{}{title}", state.unwrap_or_default()), format!("{before}{spoken}{title}"))
}

fn delayed(delay: Duration) -> String {
    let seconds = delay.as_secs();
    let age = match seconds {
        0..60 => format!("{} s", seconds.max(1)),
        60..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    };
    format!("[DELAYED {age}] ")
}

fn facts(notice: &Notice) -> Vec<Fact> {
    let event = &notice.event;
    let mut facts: Vec<Fact> = event
        .metadata
        .iter()
        .map(|(key, value)| {
            let value = match value {
                MetadataValue::Float(value) => python_float(*value),
                other => other.to_string(),
            };
            Fact { key: key_in_words(key), value, rank: Rank::Given }
        })
        .collect();
    if event.kind.is_of_incident() {
        known_facts(notice, &mut |key: &str, value: String, rank| {
            if !value.is_empty() {
                facts.push(Fact { key: key.to_owned(), value, rank });
            }
        });
    }
    facts
}

/// What the engine adds to the metadata of an incident, in the order in which it stands in the message.
fn known_facts(notice: &Notice, add: &mut dyn FnMut(&str, String, Rank)) {
    let event = &notice.event;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let measured = |value: Option<f64>| value.map(|value| figure(value, &event.unit)).unwrap_or_default();
    add("Severity", severity(event), Rank::Kept);
    add("Rule", text(&event.rule), Rank::Known);
    add("Reason", event.reason.map(|reason| reason.to_string()).unwrap_or_default(), Rank::Known);
    match event.kind {
        EventKind::Flapping => add("State", "flapping, quiet until it settles".into(), Rank::Known),
        EventKind::Settled => add("State", "settled".into(), Rank::Known),
        _ => {}
    }
    add("Value", measured(event.value), Rank::Known);
    if event.worst != event.value {
        add("Worst", measured(event.worst), Rank::Known);
    }
    let threshold = event.threshold.map(|threshold| {
        let unit = if event.unit.is_empty() { String::new() } else { format!(" {}", event.unit) };
        format!("{threshold}{unit}")
    });
    add("Threshold", threshold.unwrap_or_default(), Rank::Known);
    add("Since", event.since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), Rank::Known);
    if matches!(event.kind, EventKind::Resolved | EventKind::Reminded) {
        add("Duration", lasted(event.duration), Rank::Known);
    }
    for (key, value) in &event.labels {
        add(&key_in_words(key), value.clone(), Rank::Known);
    }
    add("Service", notice.origin.service.clone(), Rank::Known);
    add("Instance", notice.origin.instance.clone(), Rank::Known);
    add("Incident", event.incident.clone(), Rank::Kept);
    add("Order Id", text(&event.order_id), Rank::Known);
    add("Trace Id", text(&event.trace_id), Rank::Known);
    add("Runbook", text(&event.runbook), Rank::Known);
}

fn severity(event: &Event) -> String {
    if event.worst_severity > event.severity {
        format!("{} (was {})", event.severity.as_upper_str(), event.worst_severity.as_upper_str())
    } else {
        event.severity.as_upper_str().to_owned()
    }
}

/// `1 h 4 min 10 s`.
fn lasted(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|part| part.0 > 0).map(|(amount, unit)| format!("{amount} {unit}")).collect();
    if shown.is_empty() { "0 s".into() } else { shown.join(" ") }
}

/// The metadata in plain lines, for a channel whose service lays messages out itself.
pub(crate) fn details(notice: &Notice) -> String {
    let lines: Vec<String> =
        facts(notice).iter().map(|fact| format!("{}: {}", fact.key, fact.value)).collect();
    lines.join("\n")
}

/// A message in one short piece of plain text, for a channel that refused the other one.
pub(super) fn plain(notice: &Notice, dialect: Dialect) -> String {
    const LONGEST: usize = 400;
    let event = &notice.event;
    let mut words = headings(notice, dialect).1;
    let message = dialect.escape(&event.message, LONGEST);
    if !message.is_empty() {
        let _ = write!(words, "\n{message}");
    }
    if event.kind.is_of_incident() {
        let _ = write!(words, "\nIncident: {}", dialect.escape_line(&event.incident, LONGEST_VALUE));
    }
    words
}
