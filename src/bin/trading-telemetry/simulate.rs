//! `simulate`: what would have been sent on past data.

mod data;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use trading_telemetry::alerts::evaluation::{Evaluator, Measured, Moment, Recorded, Sample, Scope, Tuning};
use trading_telemetry::alerts::event::{AlertSeverity, Event, EventKind, Reason};
use trading_telemetry::alerts::incident::Hours;
use trading_telemetry::alerts::rule::{RuleSet, Sampling};
use trading_telemetry::settings::{ChannelKind, Route, Settings};

use crate::output::{Failure, Output, note, table};
use crate::sources::{SourceArgs, rules};
use data::{Cell, Data, Series};

/// The most evaluations between two rows: a year of days must not take a year of seconds.
const MOST: u32 = 120;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file of rules, over the built-in ones; `built-in` for those alone.
    rules: PathBuf,
    /// The past: a column of times (RFC 3339, a date, or seconds since 1970), and one for each series, headed like
    /// `trading_component_up{component="broker"}`. An empty cell records nothing.
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// Shows every change, also those that no channel but the log is told of.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args, sources: &SourceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let settings = sources.load()?.settings;
    let rules = if args.rules.as_os_str() == "built-in" {
        RuleSet::built_in()
    } else if args.rules.exists() {
        rules(&args.rules)?
    } else {
        return Err(Failure::wrong(format!("there is no {}: name a file of rules", args.rules.display())));
    };
    let data = Data::read(&args.csv)?;
    for series in data.series.iter().filter(|series| !rules.iter().any(|rule| rule.metric == series.metric)) {
        note(&format!("note: no rule watches {}", series.metric));
    }
    for rule in
        rules.iter().filter(|rule| matches!(rule.sampling, Sampling::Quantile(..) | Sampling::Mean(_)))
    {
        note(&format!("note: the rule {} needs a histogram, which no column holds", rule.name));
    }
    let events = simulate(&rules, &settings, &data);
    let told: Vec<(&Event, Vec<&'static str>)> = events
        .iter()
        .map(|event| (event, channels(&settings, event)))
        .filter(|(_, channels)| args.all || !channels.is_empty())
        .collect();
    output.either(|| as_json(&told), || text(&told, &data))?;
    Ok(ExitCode::SUCCESS)
}

fn simulate(rules: &RuleSet, settings: &Settings, data: &Data) -> Vec<Event> {
    let Some(first) = data.rows.first().map(|row| row.at) else { return Vec::new() };
    let mut clock = Clock { first, open_since: None, settings };
    let (mut evaluator, _) = Evaluator::new(rules, Tuning::new(settings), 0, clock.at(first), Vec::new());
    let counters = |series: &Series| {
        rules.iter().any(|rule| {
            rule.metric == series.metric && matches!(rule.sampling, Sampling::Increase(_) | Sampling::Rate(_))
        })
    };
    let counters: Vec<bool> = data.series.iter().map(counters).collect();
    let mut last: Vec<Option<(f64, Recorded)>> = vec![None; data.series.len()];
    let mut events = Vec::new();
    for (index, row) in data.rows.iter().enumerate() {
        let now = clock.at(row.at).monotonic;
        for (cell, last) in row.cells.iter().zip(&mut last) {
            match cell {
                Cell::Nothing => {}
                Cell::Refused => *last = Some((last.map_or(0.0, |(value, _)| value), Recorded::Refused)),
                Cell::Value(value) => *last = Some((*value, Recorded::At(now))),
            }
        }
        let next = data.rows.get(index + 1).map_or(row.at, |next| next.at);
        for at in steps(row.at, next, settings.alerts.evaluation_interval) {
            let moment = clock.at(at);
            let mut pass = evaluator.begin(moment, Scope::All);
            for ((series, last), counter) in data.series.iter().zip(&last).zip(&counters) {
                let (Some((value, recorded)), Some(watch)) = (last, pass.watch(&series.metric)) else {
                    continue;
                };
                let measured = if *counter {
                    Measured::Counter(*value)
                } else {
                    Measured::Gauge { last: *value, worst: None }
                };
                let sample = Sample::new(&series.labels, measured, *recorded);
                pass.observe(watch, &Sample { excused: excused(series, settings, &moment), ..sample });
            }
            events.extend(pass.finish().events);
        }
    }
    events
}

/// Times as the engine sees them.
struct Clock<'a> {
    first: Timestamp,
    open_since: Option<Duration>,
    settings: &'a Settings,
}

impl Clock<'_> {
    fn at(&mut self, wall: Timestamp) -> Moment {
        let monotonic = Duration::try_from(wall.duration_since(self.first)).unwrap_or_default();
        let hours = &self.settings.health.hours;
        let hours = if hours.timezone.is_none() {
            Hours::Unset
        } else if hours.are_open(wall) {
            Hours::Open { since: *self.open_since.get_or_insert(monotonic) }
        } else {
            self.open_since = None;
            Hours::Closed
        };
        Moment { hours, ..Moment::new(monotonic, wall) }
    }
}

/// When the engine looks: at a row, and until the next one.
fn steps(from: Timestamp, to: Timestamp, interval: Duration) -> impl Iterator<Item = Timestamp> {
    let gap = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let step = SignedDuration::try_from(interval.max(gap / MOST)).unwrap_or(SignedDuration::from_secs(1));
    std::iter::successors(Some(from), move |at| at.checked_add(step).ok().filter(|next| *next < to))
}

/// Whether a loss of the component is not to be paged then.
fn excused(series: &Series, settings: &Settings, moment: &Moment) -> bool {
    let component =
        series.labels.iter().find(|(name, _)| name == "component").map(|(_, value)| value.as_str());
    let Some(component) = component.filter(|_| series.metric == "trading_component_up") else { return false };
    let health = &settings.health;
    let own_rule = matches!(component, "broker" | "feed");
    let is_minor = !own_rule && health.checks.get(component).is_some_and(|check| !check.critical);
    let closed = component == "feed" && matches!(moment.hours, Hours::Closed);
    is_minor || closed || health.in_maintenance(component, moment.wall)
}

/// The channels that would have been told, besides the log.
fn channels(settings: &Settings, event: &Event) -> Vec<&'static str> {
    let alerts = &settings.alerts;
    let route = |severity: AlertSeverity| -> &Route {
        match severity {
            AlertSeverity::Critical => &alerts.routes.critical,
            AlertSeverity::Warning => &alerts.routes.warning,
            AlertSeverity::Info => &alerts.routes.info,
        }
    };
    let active = alerts.active_channels().into_iter().skip(1);
    active
        .filter(|channel| match &event.channels {
            Some(chosen) => chosen.iter().any(|name| name == channel.as_str()),
            None => [event.severity, event.worst_severity]
                .iter()
                .any(|severity| route(*severity).includes(*channel)),
        })
        .map(ChannelKind::as_str)
        .collect()
}

fn series(event: &Event) -> String {
    let labels: Vec<_> = event.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let rule = event.rule.as_deref().unwrap_or_default();
    if labels.is_empty() { rule.to_owned() } else { format!("{rule} ({})", labels.join(", ")) }
}

fn as_json(told: &[(&Event, Vec<&'static str>)]) -> serde_json::Value {
    let message = |(event, channels): &(&Event, Vec<&'static str>)| {
        json!({
            "at": event.at,
            "kind": event.kind.as_str(),
            "severity": event.severity.as_str(),
            "rule": event.rule,
            "labels": event.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
            "incident": event.incident,
            "title": event.title,
            "message": event.message,
            "value": event.value,
            "reason": event.reason.map(Reason::as_str),
            "channels": channels,
        })
    };
    json!({ "messages": told.iter().map(message).collect::<Vec<_>>() })
}

fn text(told: &[(&Event, Vec<&'static str>)], data: &Data) -> String {
    let row = |(event, channels): &(&Event, Vec<&'static str>)| {
        vec![
            event.at.to_string(),
            event.kind.to_string(),
            event.severity.as_upper_str().to_owned(),
            series(event),
            format!("{}: {}", event.title, event.message),
            if channels.is_empty() { "log".to_owned() } else { channels.join(", ") },
        ]
    };
    let rows: Vec<_> = told.iter().map(row).collect();
    let mut out = String::new();
    if !rows.is_empty() {
        out = table(&["AT", "KIND", "SEVERITY", "RULE", "MESSAGE", "TO"], &rows);
        out.push('\n');
    }
    let of = |severity| told.iter().filter(|(event, _)| event.severity == severity).count();
    let opened = told.iter().filter(|(event, _)| event.kind == EventKind::Opened).count();
    let _ = writeln!(
        out,
        "{} messages about {opened} incidents on {} rows: {} critical, {} warning, {} info",
        told.len(),
        data.rows.len(),
        of(AlertSeverity::Critical),
        of(AlertSeverity::Warning),
        of(AlertSeverity::Info)
    );
    out
}
