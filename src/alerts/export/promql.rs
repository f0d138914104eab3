//! A rule's parts in `PromQL`.

use std::fmt::Write as _;

use super::label_name;
use super::yaml::duration;
use crate::alerts::event::{AlertSeverity, Comparison};
use crate::alerts::rule::{Level, MissingPolicy, Rule, Sampling};
use crate::metrics::catalog;

/// How far back a series that vanished is remembered.
const MEMORY: &str = "1d";
/// The labels that tell an alert from the series that it is about.
const OF_ALERTS: &str = "alertname, alertstate, severity, origin, evaluator, reason";

/// The name of the recording rule that holds what `rule` compares.
pub(super) fn record(rule: &Rule) -> String {
    let mut name = String::from("trading_rule:");
    for c in rule.name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            name.push(c);
        } else {
            let _ = write!(name, "_{:x}", u32::from(c));
        }
    }
    name
}

/// What `rule` compares, or why Prometheus cannot know.
pub(super) fn compared(rule: &Rule) -> Result<String, &'static str> {
    let select = |suffix: &str| selector(rule, suffix);
    let value = match rule.sampling {
        Sampling::Value => select(""),
        Sampling::Increase(window) => format!("increase({}[{}])", select(""), duration(window)),
        Sampling::Rate(window) => format!("rate({}[{}])", select(""), duration(window)),
        Sampling::Quantile(quantile, window) => {
            let buckets = format!("rate({}[{}])", select("_bucket"), duration(window));
            format!("histogram_quantile({quantile}, {buckets})")
        }
        Sampling::Mean(_) if catalog::find(&rule.metric).is_some_and(|row| !row.has_sum()) => {
            return Err("the scrape has no sum of values that may be negative");
        }
        Sampling::Mean(window) => {
            let rate = |suffix| format!("rate({}[{}])", select(suffix), duration(window));
            format!("{} / {}", rate("_sum"), rate("_count"))
        }
    };
    // Neither NaN nor infinity is a value; and what the engine is blind to, Prometheus reads no better: a start-up 0 is
    // no sample, for it neither.
    Ok(format!(
        "({value} > -Inf < +Inf)\nunless on (job, instance) (trading_alert_rule_state{{rule={}}} == -1)",
        text(&rule.name)
    ))
}

/// When a level is breached; and while it fires, when it is not over.
pub(super) fn level(rule: &Rule, severity: AlertSeverity, level: &Level, patience: &str) -> String {
    let record = record(rule);
    let firing = format!(
        "ignoring ({OF_ALERTS}) ALERTS{{alertname={},severity=\"{severity}\",evaluator=\"prometheus\",reason=\"\",alertstate=\"firing\"}}",
        text(&rule.name)
    );
    let mut expression = format!("{record} {} {}", rule.comparison, level.level);
    if let Some(recovers) = level.recovers {
        let not_over = if rule.comparison.is_upward() { Comparison::Above } else { Comparison::Below };
        let _ = write!(expression, "\nor ({record} {not_over} {recovers} and {firing})");
    }
    let memory = if rule.missing.policy == MissingPolicy::Resolve { patience } else { MEMORY };
    // A series that vanished has not recovered.
    let _ = write!(expression, "\nor (last_over_time({record}[{memory}]) and {firing} unless {record})");
    expression
}

/// When a series has vanished whose process is there.
pub(super) fn no_data(rule: &Rule) -> String {
    let record = record(rule);
    format!("last_over_time({record}[{MEMORY}]) unless {record} and on (job, instance) (up == 1)")
}

fn selector(rule: &Rule, suffix: &str) -> String {
    let matchers: Vec<String> = rule
        .matchers
        .iter()
        .map(|matcher| {
            format!("{}{}{}", label_name(&matcher.label), matcher.operator.as_str(), text(&matcher.value))
        })
        .collect();
    let matchers = if matchers.is_empty() { String::new() } else { format!("{{{}}}", matchers.join(",")) };
    format!("{}{suffix}{matchers}", rule.metric)
}

fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
