//! The rule file for Prometheus.

use std::fmt::Write as _;
use std::time::Duration;

use super::watch::WATCHES;
use super::yaml::{block, duration, quoted};
use super::{label_name, promql};
use crate::alerts::event::AlertSeverity;
use crate::alerts::rule::{Fill, Level, MissingPolicy, Rule, RuleSet, Template};
use crate::settings::Settings;

const HEAD: &str = "\
# The alert rules as Prometheus evaluates them. Written by `trading-telemetry export`; change the rules of the engine
# (alerts.rules_file) and write it anew.
#
# With `origin: engine` are the engine's own rules, for dashboards and to be compared: the engine has told of them long
# before. With `origin: prometheus` is what only a second pair of eyes can see.
groups:
";

/// The rule file for Prometheus: hysteresis, times, missing data and restarts as in the engine, and rules on what the
/// engine cannot see of itself. Of the settings it needs how often a service checks its health and evaluates its rules.
pub fn prometheus_rules(rules: &RuleSet, settings: &Settings) -> String {
    let mut out = String::from(HEAD);
    out.push_str("  - name: trading-telemetry\n    rules:\n");
    for rule in rules.iter() {
        of_rule(&mut out, rule, settings.monitoring.health_check_interval);
    }
    out.push_str("\n  - name: trading-telemetry-watch\n    rules:\n");
    for watch in WATCHES {
        let _ = writeln!(out, "      - alert: {}", watch.name);
        let (expression, hold) = watch.at(settings.alerts.evaluation_interval);
        block(&mut out, 8, "expr", &expression);
        times(&mut out, hold, watch.keep_firing);
        let _ = writeln!(out, "        labels: {{severity: {}, origin: prometheus}}", watch.severity);
        annotations(&mut out, watch.title, watch.message, None);
    }
    out
}

fn of_rule(out: &mut String, rule: &Rule, check_interval: Duration) {
    let _ = writeln!(out, "      # {}", rule.name);
    let compared = match promql::compared(rule) {
        Ok(compared) => compared,
        Err(why) => {
            let _ = writeln!(out, "      # is the engine's alone: {why}");
            return;
        }
    };
    let _ = writeln!(out, "      - record: {}", promql::record(rule));
    block(out, 8, "expr", &compared);
    let patience = rule.missing.after.duration(check_interval);
    for severity in AlertSeverity::ALL {
        let Some(level) = rule.level(severity) else { continue };
        let _ = writeln!(out, "      - alert: {}", quoted(&rule.name));
        block(out, 8, "expr", &promql::level(rule, severity, level, &duration(patience)));
        times(out, level.hold, level.keep_firing);
        labels(out, severity, "");
        let texts = Texts::of(rule, severity, level, Values::Template);
        annotations(out, &texts.title, &texts.message, rule.runbook.as_deref());
    }
    // Market hours are nothing that Prometheus knows.
    if rule.missing.policy == MissingPolicy::Alert && !rule.missing.only_in_hours {
        let severity = rule.missing.severity;
        let _ = writeln!(out, "      - alert: {}", quoted(&rule.name));
        block(out, 8, "expr", &promql::no_data(rule));
        times(out, patience, Duration::ZERO);
        labels(out, severity, ", reason: no_data");
        let title = rule.title(severity).render(&Filling { rule, level: None, values: Values::Template });
        annotations(out, &title, &format!("{} has no data", rule.metric), rule.runbook.as_deref());
    }
}

fn labels(out: &mut String, severity: AlertSeverity, more: &str) {
    let _ = writeln!(
        out,
        "        labels: {{severity: {severity}, origin: engine, evaluator: prometheus{more}}}"
    );
}

fn times(out: &mut String, hold: Duration, keep_firing: Duration) {
    for (key, time) in [("for", hold), ("keep_firing_for", keep_firing)] {
        if !time.is_zero() {
            let _ = writeln!(out, "        {key}: {}", duration(time));
        }
    }
}

fn annotations(out: &mut String, title: &str, message: &str, runbook: Option<&str>) {
    let _ = writeln!(out, "        annotations:\n          title: {}", quoted(title));
    let _ = writeln!(out, "          message: {}", quoted(message));
    if let Some(runbook) = runbook {
        let _ = writeln!(out, "          runbook: {}", quoted(runbook));
    }
}

/// What a rule says at a level.
pub(super) struct Texts {
    pub(super) title: String,
    pub(super) message: String,
}

/// What stands for the values in it.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// Prometheus' templates.
    Template,
    /// What those templates come to.
    Known { value: f64, labels: &'a [(String, String)] },
}

impl Texts {
    pub(super) fn of(rule: &Rule, severity: AlertSeverity, level: &Level, values: Values<'_>) -> Self {
        let filling = Filling { rule, level: Some((severity, level)), values };
        let render = |template: &Template| template.render(&filling);
        Self { title: render(rule.title(severity)), message: render(rule.message(severity)) }
    }
}

struct Filling<'a> {
    rule: &'a Rule,
    level: Option<(AlertSeverity, &'a Level)>,
    values: Values<'a>,
}

impl Filling<'_> {
    fn with_unit(&self, number: &str) -> String {
        match self.rule.unit.as_str() {
            "" => number.to_owned(),
            "$" => format!("${number}"),
            unit => format!("{number} {unit}"),
        }
    }
}

impl Fill for Filling<'_> {
    fn text(&self, text: &str, out: &mut String) {
        match self.values {
            // To Prometheus two braces begin a template, and a template that it cannot read costs the whole file.
            Values::Template => out.push_str(&text.replace('{', "{{ \"{\" }}")),
            Values::Known { .. } => out.push_str(text),
        }
    }

    fn name(&self, name: &str, out: &mut String) {
        let level = self.level.map(|(_, level)| self.with_unit(&level.level.to_string())).unwrap_or_default();
        let text = match name {
            // The worst is the engine's to know.
            "value" | "worst" => match self.values {
                Values::Template => self.with_unit("{{ $value }}"),
                Values::Known { value, .. } => self.with_unit(&value.to_string()),
            },
            "threshold" => format!("{} {level}", self.rule.comparison),
            "level" => level,
            "severity" => self.level.map_or_else(String::new, |(severity, _)| severity.to_string()),
            "rule" => self.rule.name.clone(),
            "metric" => self.rule.metric.clone(),
            // Alertmanager shows when it began and how long it has lasted.
            _ => "…".to_owned(),
        };
        out.push_str(&text);
    }

    fn label(&self, name: &str, out: &mut String) {
        match self.values {
            Values::Template => {
                let _ = write!(out, "{{{{ $labels.{} }}}}", label_name(name));
            }
            Values::Known { labels, .. } => {
                out.push_str(labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value));
            }
        }
    }
}
