//! `rules`: the table in force.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use trading_telemetry::alerts::event::AlertSeverity;
use trading_telemetry::alerts::rule::{Level, MissingPolicy, Patience, Rule, RuleSet};

use crate::output::{Failure, Output, table};
use crate::sources::{SourceArgs, rules};

pub(crate) fn run(sources: &SourceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let loaded = sources.load()?;
    let rules = rules(&loaded.settings.alerts.rules_file)?;
    output.either(|| json(&rules), || text(&rules))?;
    Ok(ExitCode::SUCCESS)
}

fn series(rule: &Rule) -> String {
    let matchers: Vec<String> = rule.matchers.iter().map(ToString::to_string).collect();
    if matchers.is_empty() {
        rule.metric.clone()
    } else {
        format!("{}{{{}}}", rule.metric, matchers.join(","))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn level(rule: &Rule, level: Option<&Level>) -> String {
    let Some(level) = level else { return String::new() };
    let unit = if rule.unit.is_empty() { String::new() } else { format!(" {}", rule.unit) };
    let mut text = format!("{} {}{unit}", rule.comparison, level.level);
    if !level.hold.is_zero() {
        let _ = write!(text, " for {}", seconds(level.hold));
    }
    if let Some(recovers) = level.recovers {
        let _ = write!(text, ", over at {recovers}{unit}");
    }
    if !level.keep_firing.is_zero() {
        let _ = write!(text, ", over after {}", seconds(level.keep_firing));
    }
    text
}

fn missing(rule: &Rule) -> String {
    let policy = match rule.missing.policy {
        MissingPolicy::Keep => return "keep".to_owned(),
        MissingPolicy::Alert => "alert",
        MissingPolicy::Resolve => "resolve",
    };
    let after = match rule.missing.after {
        Patience::For(time) => seconds(time),
        Patience::Intervals(number) => format!("{number} intervals"),
    };
    format!("{policy} after {after}{}", if rule.missing.only_in_hours { " in hours" } else { "" })
}

fn text(rules: &RuleSet) -> String {
    let row = |rule: &Rule| {
        let of = |severity| level(rule, rule.level(severity));
        vec![
            rule.name.clone(),
            series(rule),
            of(AlertSeverity::Info),
            of(AlertSeverity::Warning),
            of(AlertSeverity::Critical),
            missing(rule),
        ]
    };
    let mut heads = vec!["RULE", "SERIES", "INFO", "WARNING", "CRITICAL", "MISSING DATA"];
    let mut rows: Vec<Vec<String>> = rules.iter().map(|rule| row(rule)).collect();
    if rows.iter().all(|row| row[2].is_empty()) {
        heads.remove(2);
        for row in &mut rows {
            row.remove(2);
        }
    }
    table(&heads, &rows)
}

fn json(rules: &RuleSet) -> Value {
    let level = |level: &Level| {
        json!({
            "level": level.level,
            "recovers": level.recovers,
            "for_seconds": level.hold.as_secs_f64(),
            "keep_firing_for_seconds": level.keep_firing.as_secs_f64(),
        })
    };
    let rule = |rule: &Rule| {
        let levels = AlertSeverity::ALL.into_iter();
        let levels =
            levels.filter_map(|severity| Some((severity.as_str().to_owned(), level(rule.level(severity)?))));
        json!({
            "rule": rule.name,
            "series": series(rule),
            "comparison": rule.comparison.as_str(),
            "unit": rule.unit,
            "levels": levels.collect::<serde_json::Map<_, _>>(),
            "missing": missing(rule),
            "title": rule.title.source(),
            "message": rule.message.source(),
            "runbook": rule.runbook,
        })
    };
    json!({ "rules": rules.iter().map(|each| rule(each)).collect::<Vec<_>>() })
}
