//! From a transition to the event that delivering gets: all texts filled in.

use std::time::Duration;

use jiff::Timestamp;

use crate::alerts::event::{AlertSeverity, Event, EventKind, Reason, Threshold};
use crate::alerts::incident::Transition;
use crate::alerts::rule::{Fill, Rule, with_unit};
use crate::metrics::catalog::{self, Group};

/// The event of a transition.
pub(super) fn event(
    rule: &Rule,
    labels: &[(String, String)],
    transition: Transition,
    wall: Timestamp,
    is_muted: bool,
) -> Event {
    let severity = transition.severity;
    let level = rule.level(severity).filter(|_| transition.reason.is_none());
    let threshold = level.map(|level| Threshold { comparison: rule.comparison, level: level.level });
    let fill = Filling { rule, labels, transition: &transition, threshold };
    let title = rule.title(severity).render(&fill);
    let message = match (&transition.incident.joined, transition.reason) {
        (Some(joined), None) => joined.message.clone(),
        (_, Some(reason)) => fill.missing(reason),
        // What a level says of itself ("limit reached") holds no more.
        (None, None) if transition.kind == EventKind::Resolved => {
            rule.resolved.as_ref().unwrap_or(&rule.message).render(&fill)
        }
        (None, None) => rule.message(severity).render(&fill),
    };
    let mut event = bare(&rule.name, labels, transition, wall);
    event.title = title;
    event.message = message;
    event.threshold = threshold;
    event.unit.clone_from(&rule.unit);
    event.channels = channels(rule, severity, event.worst_severity);
    event.runbook.clone_from(&rule.runbook);
    event.silenced = is_muted;
    event
}

/// The end of an incident whose rule is no more.
pub(super) fn orphan(
    rule: &str,
    labels: &[(String, String)],
    mut transition: Transition,
    wall: Timestamp,
    is_muted: bool,
) -> Event {
    let title = transition.incident.title.take();
    let mut event = bare(rule, labels, transition, wall);
    event.title = title.unwrap_or_else(|| rule.to_owned());
    event.silenced = is_muted;
    "the rule was removed or switched off: nobody watches this any more".clone_into(&mut event.message);
    event
}

fn bare(rule: &str, labels: &[(String, String)], transition: Transition, wall: Timestamp) -> Event {
    let Transition { kind, incident, severity, duration, reason } = transition;
    let mut joined = incident.joined.unwrap_or_default();
    // What failed last is over with the incident.
    let last_error = incident.last_error.filter(|_| kind != EventKind::Resolved);
    joined.metadata.extend(last_error.map(|error| ("last_error".to_owned(), error.into())));
    Event {
        rule: Some(rule.to_owned()),
        worst_severity: incident.worst_severity,
        metadata: joined.metadata,
        value: incident.value,
        worst: incident.worst,
        since: incident.since,
        duration,
        labels: labels.to_vec(),
        order_id: joined.order_id.or(incident.order_id),
        trace_id: joined.trace_id.or(incident.trace_id),
        reason,
        ..Event::new(incident.id, kind, severity, wall)
    }
}

/// Who heard of the worst hears of the end, too.
fn channels(rule: &Rule, now: AlertSeverity, worst: AlertSeverity) -> Option<Vec<String>> {
    let mut channels = rule.channels[now as usize].clone()?;
    for channel in rule.channels[worst as usize].as_ref()? {
        if !channels.contains(channel) {
            channels.push(channel.clone());
        }
    }
    Some(channels)
}

/// Whether the metric is recorded with others in one call, so that all of them are missing or none.
pub(super) fn is_of_a_snapshot(metric: &str) -> bool {
    catalog::find(metric).is_some_and(|row| row.group == Group::Portfolio)
}

struct Filling<'a> {
    rule: &'a Rule,
    labels: &'a [(String, String)],
    transition: &'a Transition,
    threshold: Option<Threshold>,
}

impl Filling<'_> {
    fn number(&self, number: Option<f64>) -> String {
        number.map_or_else(|| "unknown".to_owned(), |number| with_unit(number, &self.rule.unit))
    }

    /// What is known where the value is not what decides.
    fn missing(&self, reason: Reason) -> String {
        let metric = &self.rule.metric;
        let last = self.number(self.transition.incident.value);
        let what = match reason {
            Reason::NoData => format!("{metric} has no data"),
            Reason::Stale if is_of_a_snapshot(metric) => {
                format!("{metric} and the other portfolio figures have not been recorded for a while (stale)")
            }
            Reason::Stale => format!("{metric} has not been recorded for a while (stale)"),
            Reason::Invalid => format!("{metric} is recorded as NaN or infinite (invalid)"),
            Reason::RuleRemoved => format!("the rule on {metric} was removed or switched off"),
        };
        if self.transition.kind == EventKind::Resolved {
            format!("{what}: ended without a recovery that anybody saw, last value {last}")
        } else {
            format!("{what}, last value {last}")
        }
    }
}

impl Fill for Filling<'_> {
    fn name(&self, name: &str, out: &mut String) {
        let incident = &self.transition.incident;
        let unit = &self.rule.unit;
        let text = match name {
            "value" => self.number(incident.value),
            "worst" => self.number(incident.worst),
            "threshold" => self.threshold.map_or_else(String::new, |threshold| {
                format!("{} {}", threshold.comparison, with_unit(threshold.level, unit))
            }),
            "level" => self.number(self.threshold.map(|threshold| threshold.level)),
            "severity" => self.transition.severity.to_string(),
            "since" => incident.since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "duration" => show_duration(self.transition.duration),
            "rule" => self.rule.name.clone(),
            "metric" => self.rule.metric.clone(),
            _ => String::new(),
        };
        out.push_str(&text);
    }

    fn label(&self, name: &str, out: &mut String) {
        out.push_str(self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value));
    }
}

/// `2 d 3 h`, `1 h 5 min`, `38 s`: the two largest units.
fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = units.iter().skip(first).take(2).filter(|(count, _)| *count > 0 || first == 3);
    shown.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_their_two_largest_units() {
        let show = |seconds| show_duration(Duration::from_secs(seconds));
        assert_eq!(
            [0, 38, 60, 98, 3_900, 86_400, 183_600].map(show),
            ["0 s", "38 s", "1 min", "1 min 38 s", "1 h 5 min", "1 d", "2 d 3 h"]
        );
    }
}
