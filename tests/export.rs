//! The committed rule file, unit tests and Alertmanager configuration are what the rules and settings make of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it")]

use std::fs;
use std::path::{Path, PathBuf};

use trading_telemetry::alerts::export::{Secrets, alertmanager, prometheus_rules, promtool_tests};
use trading_telemetry::alerts::rule::RuleSet;
use trading_telemetry::settings::{AlertSettings, Settings, Sources};

const SLACK: &str = "https://hooks.slack.com/services/T0/B0/s3cret";
const TELEGRAM: &str = "123456:s3cret-token";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn committed(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_default()
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let sources = Sources::empty().folder(std::env::temp_dir());
    let sources = variables.iter().fold(sources, |sources, (name, value)| sources.variable(*name, *value));
    Settings::load(&sources).unwrap().settings
}

fn rules(text: &str) -> RuleSet {
    RuleSet::load(Some(("rules.yaml", text))).into_result().unwrap()
}

#[test]
fn the_committed_files_are_those_that_export_writes() {
    let rules = RuleSet::built_in();
    let stale = "is stale: run `cargo run --features cli -- export`";
    let (path, text) = ("config/rules/trading-telemetry.yml", prometheus_rules(&rules, &Settings::default()));
    assert!(committed(path) == text, "{path} {stale}");
    let (path, text) =
        ("config/alertmanager.yml", alertmanager(&rules, &AlertSettings::default(), Secrets::Files));
    assert!(committed(path) == text, "{path} {stale}");

    let mut vectors: Vec<(String, String)> = fs::read_dir(root("tests/vectors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect();
    vectors.sort();
    let vectors = vectors.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let (path, text) = ("config/rules/tests.yml", promtool_tests(&rules, vectors).unwrap());
    assert!(committed(path) == text, "{path} {stale}");
    for rule in rules.iter() {
        assert!(text.contains(&format!("- name: \"{}: ", rule.name)), "no unit test of {}", rule.name);
    }
}

#[test]
fn a_rule_of_a_service_is_exported_with_all_that_it_says() {
    let exported = prometheus_rules(
        &rules(
            r#"
metrics:
  queue_depth: {type: gauge, labels: [queue.name]}
  fills_seconds: {type: histogram}
rules:
  "queue depth":
    metric: queue_depth
    labels: ['queue.name=~"a\d+"']
    when: at least
    warning: {level: 10, recovers: 5, for: 500ms, keep_firing_for: 1m}
    missing: {then: resolve, after: 90s}
    title: "Queue {{{label.queue.name}}}"
    message: "{value} beyond {threshold}"
    runbook: https://example.com/queue
  slow:
    metric: fills_seconds
    sample: {quantile: 0.99, over: 5m}
    when: above
    critical: 2
  loss:
    metric: trading_trade_pnl_dollars
    sample: {mean: 5m}
    when: below
    critical: -5
"#,
        ),
        &Settings::default(),
    );
    for line in [
        "      - record: trading_rule:queue_20depth",
        "          (queue_depth{queue_name=~\"a\\\\d+\"} > -Inf < +Inf)",
        "          trading_rule:queue_20depth >= 10",
        "        for: 500ms",
        "        keep_firing_for: 60s",
        r#"          title: "Queue {{ \"{\" }}{{ $labels.queue_name }}}""#,
        "          message: \"{{ $value }} beyond >= 10\"",
        "          runbook: \"https://example.com/queue\"",
        "          (histogram_quantile(0.99, rate(fills_seconds_bucket[300s])) > -Inf < +Inf)",
        "          title: \"slow\"",
        "      # is the engine's alone: the scrape has no sum of values that may be negative",
    ] {
        assert!(exported.lines().any(|known| known == line), "no line {line:?} in\n{exported}");
    }
    assert!(exported.contains("or (trading_rule:queue_20depth > 5 and ignoring"), "{exported}");
    assert!(exported.contains("last_over_time(trading_rule:queue_20depth[90s])"), "{exported}");
    assert!(!exported.contains("trading_rule:loss"), "{exported}");
}

#[test]
fn only_a_filled_export_holds_secrets_and_only_of_whom_is_configured() {
    let variables =
        [("SLACK_WEBHOOK_URL", SLACK), ("TELEGRAM_BOT_TOKEN", TELEGRAM), ("TELEGRAM_CHAT_ID", "-42")];
    let rules = RuleSet::built_in();
    let all = settings(&variables).alerts;
    let public = alertmanager(&rules, &all, Secrets::Files);
    assert!(!public.contains("s3cret"), "{public}");
    assert!(public.contains("api_url_file: ") && public.contains("bot_token: \"filled-in-by-export\""));
    let filled = alertmanager(&rules, &all, Secrets::FilledIn);
    assert!(
        filled.contains(SLACK) && filled.contains(TELEGRAM) && filled.contains("chat_id: -42"),
        "{filled}"
    );
    assert!(!filled.contains("_file:") && !filled.contains("filled-in-by-export"));
    let slack_alone = alertmanager(&rules, &settings(&variables[..1]).alerts, Secrets::FilledIn);
    assert!(slack_alone.contains(SLACK) && !slack_alone.contains("telegram_configs"), "{slack_alone}");
}

#[test]
fn who_pages_is_turned_round_by_the_channels() {
    let rules = RuleSet::built_in();
    let engine = alertmanager(&rules, &settings(&[]).alerts, Secrets::Files);
    let silent = "- receiver: nobody\n      matchers: ['origin=\"engine\"']";
    let copies = "- receiver: nobody\n      matchers: ['evaluator=\"prometheus\"']";
    assert!(engine.contains(silent) && engine.contains(copies), "{engine}");
    let urls = ("SA_ALERTS__ALERTMANAGER__URLS", "http://127.0.0.1:9093");
    let turned = alertmanager(
        &rules,
        &settings(&[("SA_ALERTS__CHANNELS", "log,alertmanager"), urls]).alerts,
        Secrets::Files,
    );
    assert!(!turned.contains(silent) && turned.contains(copies), "{turned}");
    let group_by = turned.lines().find(|line| line.contains("group_by")).unwrap();
    assert!(!group_by.contains("severity") && group_by.contains("component"), "{group_by}");
}

#[test]
fn a_slow_engine_is_not_taken_for_a_stuck_one() {
    let of = |interval| {
        let settings = settings(&[("SA_ALERTS__EVALUATION_INTERVAL_SECONDS", interval)]);
        let text = prometheus_rules(&RuleSet::built_in(), &settings);
        let rule = text.split("      - alert: ").find(|rule| rule.starts_with("engine_stuck")).unwrap();
        rule.to_owned()
    };
    assert_eq!(of("90"), of("1"), "it evaluates twice within the three minutes");
    let slow = of("600");
    for part in ["changes(trading_alert_evaluation_duration_seconds[1200s])", "duration_seconds[1200s]) > 3"]
    {
        assert!(slow.contains(part), "{slow}");
    }
    assert!(slow.contains("for: 600s") && !slow.contains("[3m]"), "{slow}");
}
