//! Unit tests for `promtool`, from the vectors that prove the engine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::rules::{Texts, Values};
use super::yaml::quoted;
use crate::alerts::event::{AlertSeverity, EventKind};
use crate::alerts::rule::{Rule, RuleSet};

/// What a real scrape adds to each series.
const TARGET: [(&str, &str); 2] = [("instance", "localhost:8001"), ("job", "alpha-oracle-metrics")];

const HEAD: &str = "\
# What promtool has to find of trading-telemetry.yml. Written by `trading-telemetry export` from tests/vectors, through
# which the engine goes, too.
rule_files: [trading-telemetry.yml]
evaluation_interval: 1s
tests:
";

/// What no vector can say: restarts, broken values, series that vanish for good, and rules that only Prometheus has.
const ON_PROMETHEUS: &str = include_str!("on_prometheus.yml");

#[derive(Deserialize)]
struct File {
    rule: String,
    interval: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    engine_only: bool,
    values: Vec<String>,
    expect: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    rule: Option<String>,
    at: String,
    kind: EventKind,
    severity: AlertSeverity,
}

/// Why a file of vectors cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the vectors in {file} cannot be used: {what}")]
pub struct VectorError {
    file: String,
    what: String,
}

/// Unit tests for `promtool`: what it has to find of [`prometheus_rules`](super::prometheus_rules). `vectors` are files of the
/// form of `tests/vectors`: their names, for errors, and their texts.
///
/// # Errors
///
/// When a file is not of that form, or is about a rule that is not in `rules`.
pub fn promtool_tests<'v>(
    rules: &RuleSet,
    vectors: impl IntoIterator<Item = (&'v str, &'v str)>,
) -> Result<String, VectorError> {
    let mut out = String::from(HEAD);
    for (name, text) in vectors {
        let wrong = |what: String| VectorError { file: name.to_owned(), what };
        let file: File = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let interval = file.interval.strip_suffix('s').and_then(|seconds| seconds.parse::<u64>().ok());
        let interval = interval.ok_or_else(|| wrong("the interval is no number of seconds".to_owned()))?;
        for case in file.cases.iter().filter(|case| !case.engine_only) {
            case_of(&mut out, rules, &file, case, interval).map_err(wrong)?;
        }
    }
    out.push_str(ON_PROMETHEUS);
    Ok(out)
}

fn case_of(out: &mut String, rules: &RuleSet, file: &File, case: &Case, interval: u64) -> Result<(), String> {
    let find = |name: &str| rules.get(name).ok_or_else(|| format!("there is no rule `{name}`"));
    let mut watched = vec![find(&file.rule)?];
    for name in case.expect.iter().filter_map(|expected| expected.rule.as_deref()) {
        let rule = find(name)?;
        if !watched.iter().any(|known| known.name == rule.name) {
            watched.push(rule);
        }
    }
    let _ = writeln!(out, "  - name: {}", quoted(&format!("{}: {}", file.rule, case.name)));
    let _ = writeln!(out, "    interval: {interval}s\n    input_series:");
    let mut labels: Vec<(String, String)> = case.labels.clone().into_iter().collect();
    labels.extend(TARGET.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let shown: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    let _ = writeln!(out, "      - series: '{}{{{}}}'", watched[0].metric, shown.join(","));
    let _ = writeln!(out, "        values: {}", quoted(&values(&case.values)));
    out.push_str("    alert_rule_test:\n");

    let mut state: BTreeMap<&str, AlertSeverity> = BTreeMap::new();
    let mut value = 0.0;
    for (at, given) in (0..).step_by(usize::try_from(interval).unwrap_or(1)).zip(&case.values) {
        value = given.parse().unwrap_or(value);
        for expected in case.expect.iter().filter(|expected| expected.at == format!("{at}s")) {
            let rule = expected.rule.as_deref().unwrap_or(&file.rule);
            match expected.kind {
                EventKind::Resolved => drop(state.remove(rule)),
                _ => drop(state.insert(rule, expected.severity)),
            }
        }
        for rule in &watched {
            let _ = writeln!(out, "      - eval_time: {at}s\n        alertname: {}", quoted(&rule.name));
            firing(out, rule, state.get(rule.name.as_str()).copied(), value, &labels);
        }
    }
    Ok(())
}

/// Every level up to the severity fires: Alertmanager lets the highest speak.
fn firing(
    out: &mut String,
    rule: &Rule,
    severity: Option<AlertSeverity>,
    value: f64,
    labels: &[(String, String)],
) {
    let levels = AlertSeverity::ALL.into_iter().filter(|level| Some(*level) <= severity);
    let levels: Vec<_> = levels.filter_map(|severity| Some((severity, rule.level(severity)?))).collect();
    if levels.is_empty() {
        return;
    }
    out.push_str("        exp_alerts:\n");
    for (severity, level) in levels {
        let texts = Texts::of(rule, severity, level, Values::Known { value, labels });
        let own = [("severity", severity.as_str()), ("origin", "engine"), ("evaluator", "prometheus")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shown: Vec<_> =
            own.iter().chain(labels).map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
        let _ = writeln!(out, "          - exp_labels: {{{}}}", shown.join(", "));
        let _ = writeln!(
            out,
            "            exp_annotations: {{title: {}, message: {}}}",
            quoted(&texts.title),
            quoted(&texts.message)
        );
    }
}

/// The values in promtool's notation: a series that vanishes says so, or its last value would hold for 5 minutes.
fn values(given: &[String]) -> String {
    let mut last = None;
    let mut shown = Vec::new();
    for value in given {
        match value.as_str() {
            "_" => shown.push(if last.take().is_some() { "stale" } else { "_" }),
            "=" => shown.push(last.unwrap_or("_")),
            number => {
                last = Some(number);
                shown.push(number);
            }
        }
    }
    shown.join(" ")
}
