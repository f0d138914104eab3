//! Files of alert rules: what they come to, and what a mistake in one says.
#![expect(clippy::expect_used, reason = "a test fails by it")]

use trading_telemetry::alerts::rule::{RuleError, RuleSet};

fn errors(text: &str) -> String {
    let loaded = RuleSet::load(Some(("alerts.yaml", text)));
    let built_in: Vec<_> = RuleSet::built_in().iter().map(|rule| rule.name.clone()).collect();
    for name in &built_in {
        assert!(loaded.rules.get(name).is_some(), "a mistake must not take `{name}` away");
    }
    loaded.into_result().expect_err("a mistake").to_string()
}

/// A rule on a metric of one's own, with `lines` added.
fn rule(lines: &str) -> String {
    format!("rules:\n  mine:\n    {}\n", lines.trim_end().replace('\n', "\n    "))
}

#[test]
fn the_built_in_rules_are_these_eight() {
    let rules = RuleSet::load(None).into_result().expect("the built-in file has no mistake");
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["pdt", "drawdown", "daily_pnl", "psi", "kill_switch", "broker", "feed", "component"]);
}

#[test]
fn a_file_changes_a_built_in_rule_key_by_key_and_adds_its_own() {
    let text = "\
metrics:
  order_queue: {type: gauge, labels: [venue]}
rules:
  drawdown:
    warning: {level: 4 %, recovers: 3.5}
    channels: {critical: [telegram, slack]}
  psi: {enabled: false}
  queue:
    metric: order_queue
    labels: ['venue!=\"sim\"']
    when: at least
    warning: 100
  fills:
    metric: trading_fill_latency_ms
    sample: {quantile: 0.99, over: 5m}
    when: above
    critical: {level: 5000 ms, for: 1m}
";
    let rules = RuleSet::load(Some(("alerts.yaml", text))).into_result().expect("well formed");
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(
        names,
        ["pdt", "drawdown", "daily_pnl", "kill_switch", "broker", "feed", "component", "queue", "fills"]
    );
    insta::assert_debug_snapshot!("overridden_drawdown", rules.get("drawdown"));
    insta::assert_debug_snapshot!("own_quantile", rules.get("fills"));
}

#[test]
fn a_file_that_repeats_the_built_in_rules_is_none_the_worse() {
    let built_in = include_str!("../config/alerts.yaml");
    assert_eq!(RuleSet::load(Some(("config/alerts.yaml", built_in))).into_result(), Ok(RuleSet::built_in()));
}

#[test]
fn an_empty_file_leaves_the_built_in_rules() {
    for text in ["", "# nothing yet\n", "rules:\n", "rules: {}\n"] {
        let rules = RuleSet::load(Some(("alerts.yaml", text))).into_result().expect("well formed");
        assert_eq!(rules, RuleSet::built_in(), "{text:?}");
    }
}

#[test]
fn one_run_tells_of_every_mistake_and_the_other_rules_stay() {
    let text = "\
rules:
  good:
    metric: trading_ml_model_accuracy
    when: below
    warning: 0.5
  bad:
    metric: trading_ml_model_acuracy
    when: under
  worse:
    metric: trading_pdt_trades_used
    when: at least
    warning: 3
    critical: 2
";
    let loaded = RuleSet::load(Some(("alerts.yaml", text)));
    assert!(loaded.rules.get("good").is_some());
    assert!(loaded.rules.get("bad").is_none());
    assert_eq!(loaded.errors.iter().map(RuleError::line).collect::<Vec<_>>(), [7, 12]);
}

#[test]
fn a_bad_change_of_a_built_in_rule_leaves_the_built_in_one() {
    let loaded = RuleSet::load(Some(("alerts.yaml", "rules:\n  drawdown: {warning: 9}\n")));
    assert_eq!(loaded.errors.len(), 1);
    assert_eq!(loaded.rules, RuleSet::built_in());
}

macro_rules! mistakes {
    ($($name:ident: $text:expr;)+) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), errors(&$text));
            }
        )+
    };
}

const GAUGE: &str = "metric: trading_portfolio_drawdown_pct\nwhen: above\n";

fn gauge(lines: &str) -> String {
    rule(&format!("{GAUGE}{lines}"))
}

mistakes! {
    mistake_unknown_metric: rule("metric: trading_portfolio_drawdwn_pct\nwhen: above\nwarning: 5");
    mistake_undeclared_metric: rule("metric: my_own\nwhen: above\nwarning: 5");
    mistake_wrong_unit: gauge("warning: 5 $");
    mistake_unit_of_a_metric_without: rule("metric: trading_pdt_trades_used\nwhen: above\nwarning: 5 %");
    mistake_warning_beyond_critical: gauge("warning: 9 %\ncritical: 8 %");
    mistake_warning_below_critical: rule("metric: trading_portfolio_daily_pnl_pct\nwhen: below\nwarning: -3\ncritical: -2");
    mistake_recovery_on_the_wrong_side: gauge("warning: {level: 5, recovers: 5.5}");
    mistake_recovery_at_the_level: rule("metric: trading_pdt_trades_used\nwhen: at least\nwarning: {level: 2, recovers: 2}");
    mistake_duplicate_key: gauge("warning: 5\nwarning: 6");
    mistake_duplicate_rule: format!("{}  mine:\n    warning: 6\n", gauge("warning: 5"));
    mistake_unknown_key: gauge("warning: 5\ncritcal: 8");
    mistake_unknown_section: "rule:\n  mine: {}\n";
    mistake_unknown_key_in_a_level: gauge("warning: {level: 5, four: 2s}");
    mistake_slack_webhook: gauge("warning: 5\nmessage: see https://hooks.slack.com/services/T000/B000/XXXX now");
    mistake_bot_token: gauge("warning: 5\ntitle: 123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    mistake_unknown_placeholder: gauge("warning: 5\nmessage: \"is {valeu}\"");
    mistake_unknown_label_placeholder: gauge("warning: 5\nmessage: \"is {label.component}\"");
    mistake_lone_brace: gauge("warning: 5\nmessage: \"50 } of it\"");
    mistake_unknown_label: rule("metric: trading_component_up\nlabels: ['componet=\"redis\"']\nwhen: below\nwarning: 1");
    mistake_bad_matcher: rule("metric: trading_component_up\nlabels: [component]\nwhen: below\nwarning: 1");
    mistake_bad_regex: rule("metric: trading_component_up\nlabels: ['component=~\"(redis\"']\nwhen: below\nwarning: 1");
    mistake_regex_of_two_halves: rule("metric: trading_component_up\nlabels: ['component=~\"redis)|(database\"']\nwhen: below\nwarning: 1");
    mistake_a_file_that_holds_itself: "rules: &rules\n  mine: *rules\n";
    mistake_bad_duration: gauge("warning: {level: 5, for: 5 minutes}");
    mistake_duration_without_a_unit: gauge("warning: {level: 5, for: 5}");
    mistake_no_metric: rule("when: above\nwarning: 5");
    mistake_no_level: gauge("title: nothing");
    mistake_comparison: rule("metric: trading_pdt_trades_used\nwhen: at lest\nwarning: 2");
    mistake_counter_without_a_window: rule("metric: trading_trades_total\nwhen: above\nwarning: 5");
    mistake_rate_of_a_gauge: gauge("sample: {rate: 5m}\nwarning: 5");
    mistake_quantile_out_of_range: rule("metric: trading_slippage_bps\nsample: {quantile: 99, over: 5m}\nwhen: above\nwarning: 5");
    mistake_missing_policy: gauge("warning: 5\nmissing: ignore");
    mistake_channel: gauge("warning: 5\nchannels: [slak]");
    mistake_kill_switch_off: "rules:\n  kill_switch: {enabled: false}\n";
    mistake_kill_switch_that_never_opens: "rules:\n  kill_switch: {critical: 2, title: Halted}\n";
    mistake_kill_switch_that_waits: "rules:\n  kill_switch: {critical: {level: 1, for: 10m}}\n";
    mistake_kill_switch_turned_round: "rules:\n  kill_switch: {when: below}\n";
    mistake_kill_switch_of_another_metric: "rules:\n  kill_switch: {metric: trading_ml_psi_drift}\n";
    mistake_kill_switch_that_nobody_hears: "rules:\n  kill_switch: {channels: {critical: []}}\n";
    mistake_kill_switch_for_the_log_alone: "rules:\n  kill_switch: {channels: [log]}\n";
    mistake_two_documents: "rules: {}\n---\nrules: {}\n";
    mistake_too_deep: format!("rules: {}1{}\n", "[".repeat(5_000), "]".repeat(5_000));
    mistake_too_much: format!("rules:\n{}", "  - [1, 2, 3, 4, 5, 6, 7, 8, 9]\n".repeat(30_000));
    mistake_in_a_long_line: format!("rules: {{mine: {{title: {}, metric: nothing, when: above}}}}\n", "long ".repeat(2_000));
    mistake_not_yaml: "rules: [\n";
    mistake_a_tab: "rules:\n\tmine: {}\n";
    mistake_text_where_a_number_is_wanted: gauge("warning: high");
    mistake_nan_level: gauge("warning: .nan");
    mistake_number_as_text: gauge("warning: 5\ntitle: 5");
    mistake_declares_a_built_in_metric: "metrics:\n  trading_pdt_trades_used: {type: gauge}\n";
    mistake_metric_by_its_name_in_code: "metrics:\n  limits.checked: {type: counter}\n";
    mistake_name_of_two_lines: format!("rules:\n  \"a\\nb\": {{{}}}\n", "metric: trading_ml_psi_drift, when: above, warning: 1");
    mistake_metric_type: "metrics:\n  mine: {type: gague}\n";
    mistake_endless_reminder: gauge("warning: 5\nrepeat: {warning: 0s}");
    mistake_no_time_to_wait_for_data: gauge("warning: 5\nmissing: {then: alert, after: 0s}");
}

#[test]
fn no_text_makes_the_reader_panic_or_show_a_secret() {
    use proptest::prelude::*;
    const PIECES: &[&str] = &[
        "rules:",
        "\n  ",
        "mine",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "metric",
        "&a",
        "*a",
        "<<",
        "'",
        "\"",
        "5 %",
        "\0",
        "é",
        "🔴",
        "\t",
        "- ",
        "xoxb-secret",
        "!!int",
        "when: above",
        "#",
        "|\n",
    ];
    let text = proptest::collection::vec(proptest::sample::select(PIECES), 0..30);
    proptest!(ProptestConfig::with_cases(100), |(parts in text)| {
        for error in RuleSet::load(Some(("alerts.yaml", &parts.concat()))).errors {
            prop_assert!(!error.to_string().contains("xoxb-secret"));
        }
    });
}
