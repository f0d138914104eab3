//! The built-in rules against `tests/vectors/*.yaml`, which the exported Prometheus rules are tested with, too.
#![expect(clippy::expect_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use trading_telemetry::alerts::evaluation::{Evaluator, Moment, Recorded, Sample, Scope, Tuning};
use trading_telemetry::alerts::event::{AlertSeverity, Event, EventKind, Reason};
use trading_telemetry::alerts::incident::Hours;
use trading_telemetry::alerts::rule::RuleSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: String,
    interval: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    #[expect(dead_code, reason = "for the export to Prometheus")]
    engine_only: bool,
    #[serde(default)]
    hours: bool,
    values: Vec<String>,
    expect: Vec<Expected>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Expected {
    rule: Option<String>,
    at: String,
    kind: EventKind,
    severity: AlertSeverity,
    value: Option<f64>,
    reason: Option<Reason>,
}

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').and_then(|number| number.parse().ok()).expect("seconds such as `15s`")
}

fn told(event: Event, file: &File, second: u64) -> Expected {
    Expected {
        rule: event.rule.filter(|rule| *rule != file.rule),
        at: format!("{second}s"),
        kind: event.kind,
        severity: event.severity,
        value: event.value,
        reason: event.reason,
    }
}

fn run(file: &File, case: &Case) -> Vec<Expected> {
    let rules = RuleSet::built_in();
    let metric = rules.get(&file.rule).expect("a built-in rule").metric.clone();
    let start = Timestamp::from_second(1_700_000_000).expect("in range");
    let moment = |second: u64| Moment {
        hours: if case.hours { Hours::Open { since: Duration::ZERO } } else { Hours::Unset },
        ..Moment::new(Duration::from_secs(second), start + SignedDuration::from_secs(second.cast_signed()))
    };
    let labels: Vec<(String, String)> = case.labels.clone().into_iter().collect();
    let (mut evaluator, _) = Evaluator::new(&rules, Tuning::default(), 0, moment(0), Vec::new());
    let mut all = Vec::new();
    let mut last = (0.0, Recorded::Never);
    for (index, value) in case.values.iter().enumerate() {
        let second = seconds(&file.interval) * u64::try_from(index).expect("few");
        last = match value.as_str() {
            "_" | "=" => last,
            "never" => (0.0, Recorded::Never),
            "nan" => (last.0, Recorded::Refused),
            number => (number.parse().expect("a number"), Recorded::At(Duration::from_secs(second))),
        };
        let mut pass = evaluator.begin(moment(second), Scope::All);
        let watch = pass.watch(&metric).expect("the rule watches it");
        if value != "_" {
            pass.observe(watch, &Sample::gauge(&labels, last.0, last.1));
        }
        all.extend(pass.finish().events.into_iter().map(|event| told(event, file, second)));
    }
    all
}

#[test]
fn each_built_in_rule_does_what_its_vectors_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut rules: Vec<_> = RuleSet::built_in().iter().map(|rule| rule.name.clone()).collect();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        let file: File =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        rules.retain(|rule| *rule != file.rule);
        for case in &file.cases {
            assert_eq!(run(&file, case), case.expect, "{}: {}", path.display(), case.name);
        }
    }
    assert!(rules.is_empty(), "no vectors for {rules:?}");
}
