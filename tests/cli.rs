//! The command-line tool, as a person and a script call it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it")]
#![cfg(feature = "cli")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/process.rs"]
mod process;
#[path = "support/slack.rs"]
mod slack;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use process::{eventually, free_port, service, until_told};
use serde_json::Value;
use slack::FakeSlack;

/// Runs the tool in `folder` with nothing in its environment but `variables`.
fn tool(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trading-telemetry"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", out(output), err(output)))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn check_tells_what_will_be_used_and_where_it_comes_from_without_secrets() {
    let folder = folder();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/settings.yaml"), "monitoring:\n  prometheus_port: 8011\n").unwrap();
    let variables =
        [("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/s3cret"), ("OTEL_SERVICE_NAME", "risk")];
    let checked = tool(folder.path(), &variables, &["check"]);
    assert_eq!(code(&checked), 0, "{}", err(&checked));
    let text = out(&checked);
    assert!(text.contains("risk") && !text.contains("s3cret"), "{text}");
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    assert!(line("monitoring.prometheus_port").contains("8011"), "{text}");
    assert!(line("monitoring.prometheus_port").contains("config/settings.yaml"), "{text}");
    assert!(line("alerts.slack.webhook_url").contains("SLACK_WEBHOOK_URL"), "{text}");
    assert!(line("slack").contains("on") && line("telegram").contains("set TELEGRAM_BOT_TOKEN"), "{text}");

    let checked = json(&tool(folder.path(), &variables, &["check", "--json", "--all"]));
    assert_eq!(checked["pager"], "engine");
    assert_eq!(checked["channels"][1]["active"], true);
    assert!(checked["settings"].as_array().unwrap().len() > 50);
}

#[test]
fn a_mistake_is_shown_where_it_stands_and_ends_with_1() {
    let folder = folder();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/settings.yaml"), "monitoring:\n  prometheus_prot: 1\n").unwrap();
    let checked = tool(folder.path(), &[], &["check"]);
    assert_eq!(code(&checked), 1);
    assert!(err(&checked).contains("prometheus_port"), "{}", err(&checked));
    fs::write(folder.path().join("config/settings.yaml"), "").unwrap();
    fs::write(folder.path().join("config/alerts.yaml"), "rules:\n  drawdown:\n    warning: {level: 9}\n")
        .unwrap();
    for command in ["check", "rules", "export"] {
        let checked = tool(folder.path(), &[], &[command]);
        assert_eq!(code(&checked), 1, "{command}");
        assert!(err(&checked).contains("config/alerts.yaml:3:"), "{}", err(&checked));
    }
    assert!(!folder.path().join("config/alertmanager.yml").exists(), "of wrong rules nothing is written");
}

#[test]
fn rules_shows_the_table_in_force() {
    let folder = folder();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/alerts.yaml"), "rules:\n  psi: {enabled: false}\n").unwrap();
    let text = out(&tool(folder.path(), &[], &["rules"]));
    let line = |rule: &str| text.lines().find(|line| line.starts_with(rule)).unwrap_or_default().to_owned();
    assert!(line("drawdown").contains("> 5 %, over at 4.5 %"), "{text}");
    assert!(line("broker").contains("trading_component_up{component=\"broker\"}"), "{text}");
    assert!(line("psi").is_empty(), "{text}");
    let rules = json(&tool(folder.path(), &[], &["--json", "rules"]));
    assert_eq!(rules["rules"][1]["levels"]["critical"]["recovers"], 7.5);
}

#[test]
fn wrong_calls_end_with_2_and_help_with_0() {
    let folder = folder();
    for wrong in
        [&[][..], &["chek"], &["silence", "add", "--for", "2h"], &["silence", "add", "--rule", "psi"]]
    {
        assert_eq!(code(&tool(folder.path(), &[], wrong)), 2, "{wrong:?}");
    }
    let help = tool(folder.path(), &[], &["--help"]);
    assert_eq!(code(&help), 0);
    assert!(out(&help).contains("Exit codes"), "{}", out(&help));
    for shell in ["bash", "zsh", "fish"] {
        let completions = tool(folder.path(), &[], &["completions", shell]);
        assert!(code(&completions) == 0 && out(&completions).contains("test-channel"), "{shell}");
    }
}

#[test]
fn export_writes_the_files_and_tells_when_they_are_stale() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked = tool(root, &[], &["export", "--check"]);
    assert_eq!(code(&checked), 0, "{}{}", out(&checked), err(&checked));

    let folder = folder();
    let written = json(&tool(folder.path(), &[], &["export", "--json"]));
    assert_eq!(
        written["written"].as_array().unwrap().len(),
        2,
        "without vectors there are no unit tests: {written}"
    );
    assert_eq!(code(&tool(folder.path(), &[], &["export", "--check"])), 0);
    fs::write(folder.path().join("config/alerts.yaml"), "rules:\n  psi: {enabled: false}\n").unwrap();
    let stale = tool(folder.path(), &[], &["export", "--check"]);
    assert_eq!(code(&stale), 1);
    assert!(out(&stale).contains("rules/trading-telemetry.yml"), "{}", out(&stale));
}

#[cfg(unix)]
#[test]
fn an_export_with_secrets_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let none = tool(folder.path(), &[], &["export", "--fill-secrets"]);
    assert_eq!(code(&none), 1);
    assert!(err(&none).contains("SLACK_WEBHOOK_URL"), "{}", err(&none));
    // One that everybody may read is in the way.
    fs::create_dir_all(folder.path().join("config")).unwrap();
    let file = folder.path().join("config/alertmanager.local.yml");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let variables = [("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/s3cret")];
    let written = tool(folder.path(), &variables, &["export", "--fill-secrets"]);
    assert_eq!(code(&written), 0, "{}", err(&written));
    assert!(fs::read_to_string(&file).unwrap().contains("s3cret"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(folder.path().join("config/alertmanager.yml")).unwrap().contains("s3cret"));
    assert!(!(out(&written) + &err(&written)).contains("s3cret"));
    let ignored = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".gitignore")).unwrap();
    for pattern in ["*.local.yml", "*.local.yml.*.tmp"] {
        assert!(ignored.lines().any(|line| line == pattern), "a killed export leaves the latter: {pattern}");
    }

    let named = [("TELEGRAM_BOT_TOKEN", "1:s3cret"), ("TELEGRAM_CHAT_ID", "@desk")];
    let refused = tool(folder.path(), &named, &["export", "--fill-secrets"]);
    assert_eq!(code(&refused), 1, "Alertmanager would not start with it");
    assert!(err(&refused).contains("TELEGRAM_CHAT_ID"), "{}", err(&refused));
}

#[test]
fn simulate_tells_what_would_have_been_sent() {
    let folder = folder();
    let past = "time,trading_portfolio_drawdown_pct,\"trading_component_up{component=\"\"broker\"\"}\"\n\
                2024-03-15T10:00:00Z,4,1\n2024-03-15T10:00:15Z,5.1,0\n2024-03-15T10:00:30Z,4.9,\n\
                2024-03-15T10:00:45Z,8.4,1\n2024-03-15T10:01:00Z,nan,\n2024-03-15T10:01:15Z,3,\n";
    fs::write(folder.path().join("past.csv"), past).unwrap();
    let variables = [("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/x")];
    let call = ["simulate", "built-in", "--csv", "past.csv", "--json"];
    let told = json(&tool(folder.path(), &variables, &call));
    let shown: Vec<String> = told["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            assert_eq!(message["channels"][0], "slack");
            ["at", "rule", "kind", "severity"].map(|key| message[key].as_str().unwrap()).join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "2024-03-15T10:00:15Z drawdown opened warning",
            "2024-03-15T10:00:17Z broker opened critical",
            "2024-03-15T10:00:45Z drawdown escalated critical",
            "2024-03-15T10:00:50Z broker resolved critical",
            "2024-03-15T10:01:15Z drawdown resolved critical",
        ]
    );
    let text = out(&tool(folder.path(), &variables, &call[..4]));
    assert!(
        text.ends_with("5 messages about 2 incidents on 6 rows: 4 critical, 1 warning, 0 info\n"),
        "{text}"
    );
    let nobody = out(&tool(folder.path(), &[], &call[..4]));
    assert!(nobody.starts_with("0 messages"), "no channel but the log is configured: {nobody}");
    let all = out(&tool(folder.path(), &[], &["simulate", "built-in", "--csv", "past.csv", "--all"]));
    assert!(all.contains("5 messages"), "{all}");

    fs::write(folder.path().join("past.csv"), "time,a\n2024-03-15,1\n2024-03-14,2\n").unwrap();
    let wrong = tool(folder.path(), &[], &call);
    assert_eq!(code(&wrong), 1);
    assert!(err(&wrong).contains("line 3"), "{}", err(&wrong));
    fs::write(folder.path().join("past.csv"), "time,a{b=\"1\"},a{ b=\"1\" }\n2024-03-15,1,2\n").unwrap();
    let twice = tool(folder.path(), &[], &call);
    assert!(code(&twice) == 1 && err(&twice).contains("two columns"), "{}", err(&twice));
    assert_eq!(code(&tool(folder.path(), &[], &["simulate", "none.yaml", "--csv", "past.csv"])), 1);
}

#[test]
fn test_channel_says_what_became_of_the_message() {
    let server = FakeSlack::start();
    let folder = folder();
    let url = server.webhook_url();
    let good = tool(folder.path(), &[("SLACK_WEBHOOK_URL", &url)], &["test-channel", "slack"]);
    assert_eq!(code(&good), 0, "{}", err(&good));
    assert!(server.fake.accepted()[0].body.contains("[TEST]"));
    assert_eq!(server.problems(), Vec::<String>::new());

    server.fake.always(fake::Act::status(403, "invalid_token"));
    let refused = tool(folder.path(), &[("SLACK_WEBHOOK_URL", &url)], &["test-channel", "slack"]);
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("invalid_token") && !err(&refused).contains(&url), "{}", err(&refused));

    let nowhere = format!("http://127.0.0.1:{}/services/s3cret", free_port());
    let unreachable = tool(folder.path(), &[("SLACK_WEBHOOK_URL", &nowhere)], &["test-channel", "slack"]);
    assert_eq!(code(&unreachable), 3);
    assert!(!err(&unreachable).contains("s3cret"), "{}", err(&unreachable));

    let missing = tool(folder.path(), &[], &["test-channel", "telegram"]);
    assert_eq!(code(&missing), 1);
    assert!(err(&missing).contains("TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID"), "{}", err(&missing));
    assert_eq!(code(&tool(folder.path(), &[], &["test-channel", "pager"])), 1);
}

#[test]
fn what_is_no_service_of_ours_has_not_said_that_all_is_well() {
    let server = FakeSlack::start();
    let url = server.fake.base_url();
    for command in [&["alerts"][..], &["silence", "list"]] {
        for answer in ["{}", "[]", "<html>"] {
            server.fake.always(fake::Act::status(200, answer));
            let told = tool(folder().path(), &[], &[command, &["--url", &url]].concat());
            assert_eq!(code(&told), 1, "{command:?} of {answer}: {}", out(&told));
            assert!(err(&told).contains("is it one of them?"), "{}", err(&told));
        }
    }
}

#[test]
fn a_running_service_shows_its_incidents_and_takes_silences() {
    let desk = service(|| {
        let telemetry = trading_telemetry::init_telemetry().unwrap();
        telemetry.metrics().risk().pdt_trades_used(2);
        until_told();
        telemetry.shutdown().unwrap();
    });
    let desk = desk.variable("SA_MONITORING__BEARER_TOKEN", "s3cret-token");
    let running = desk.start(&[]);
    let port = desk.port().to_string();
    let variables =
        [("SA_MONITORING__PROMETHEUS_PORT", port.as_str()), ("SA_MONITORING__BEARER_TOKEN", "s3cret-token")];
    let folder = folder();
    let call = |arguments: &[&str]| tool(folder.path(), &variables, arguments);

    let open = eventually("an incident", || {
        let output = call(&["alerts", "--json"]);
        let alerts: Value = serde_json::from_slice(&output.stdout).ok()?;
        alerts["open"].get(0).cloned()
    });
    assert_eq!((open["rule"].as_str(), open["severity"].as_str()), (Some("pdt"), Some("warning")));
    let text = out(&call(&["alerts", "--recent"]));
    assert!(text.contains("WARNING") && text.contains("PDT Limit Near"), "{text}");

    assert!(out(&call(&["silence", "list"])).starts_with("No silence"));
    let silence = ["silence", "add", "--rule", "component", "--label", "component=\"redis\"", "--for", "2h"];
    let more = ["--id", "redis/upgrade", "--comment", "upgrading"];
    let added = call(&[&silence[..], &more[..]].concat());
    assert_eq!(code(&added), 0, "{}", err(&added));
    let list = json(&call(&["silence", "list", "--json"]));
    assert_eq!(list["silences"][0]["id"], "redis/upgrade");
    assert_eq!(list["silences"][0]["labels"][0], "component=\"redis\"");
    let text = out(&call(&["silence", "list"]));
    assert!(text.contains("upgrading"), "{text}");
    let refused = call(&["silence", "add", "--rule", "kill_switch", "--for", "2h"]);
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("cannot be silenced"), "{}", err(&refused));
    let ended = call(&["silence", "end", "redis/upgrade"]);
    assert_eq!(code(&ended), 0, "{}", err(&ended));
    assert!(out(&call(&["silence", "list"])).starts_with("No silence"));
    assert_eq!(code(&call(&["silence", "end", "redis/upgrade"])), 1, "there is none any more");

    let url = format!("http://127.0.0.1:{port}");
    let stranger = [("SA_MONITORING__BEARER_TOKEN", "wrong")];
    assert_eq!(code(&tool(folder.path(), &stranger, &["alerts", "--url", &url])), 1);
    let nobody = tool(folder.path(), &[], &["silence", "end", "x", "--url", &url]);
    assert!(code(&nobody) == 1 && err(&nobody).contains("SA_MONITORING__BEARER_TOKEN"), "{}", err(&nobody));
    running.finish();
    let gone = call(&["alerts"]);
    assert_eq!(code(&gone), 3);
    assert!(err(&gone).contains("cannot be reached") && !err(&gone).contains("s3cret"), "{}", err(&gone));
}
