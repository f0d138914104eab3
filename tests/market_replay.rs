//! The replay as a person runs it.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/http.rs"]
mod http;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/slack.rs"]
mod slack;

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

#[path = "support/example.rs"]
mod example;

/// The example, built once.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example::program("market_replay"))
}

/// The program in an empty folder of its own, on a free port.
fn replay(arguments: &[&str]) -> (Command, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program());
    command.args(arguments).current_dir(&folder).env("SA_MONITORING__PROMETHEUS_PORT", port.to_string());
    command.stdin(Stdio::null());
    (command, folder)
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let (mut command, _folder) = replay(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_unknown_argument_is_a_clear_error() {
    let (code, out, err) = output(&["--speed", "3"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, "error: unknown argument `--speed`; see --help\n");
}

#[test]
fn a_date_after_the_data_is_a_clear_error() {
    let (code, out, err) = output(&["--from", "2050-01-01", "--pace-ms", "0", "--once"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, "error: --from 2050-01-01 is after the last day of the data, 2009-06-30\n");
}

#[test]
fn help_names_every_option() {
    let (code, out, _) = output(&["--help"]);
    assert_eq!(code, Some(0));
    for option in ["--pace-ms N", "--step", "--days N", "--once", "--help"] {
        assert!(out.contains(option), "{option} in {out}");
    }
}

#[test]
fn one_pass_ends_with_the_data_and_the_report() {
    let (code, out, _) = output(&["--pace-ms", "0", "--once"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("http://127.0.0.1:"), "{out}");
    assert!(out.contains("2008-10-13 KILL SWITCH ON"), "{out}");
    let end = out.rfind("\n2009-06-30  equity").expect("the last day");
    assert!(out[end..].contains("\nend of the data\n"), "{out}");
}

#[test]
fn it_starts_over_and_says_so() {
    let (code, out, _) = output(&["--pace-ms", "0", "--days", "510"]);
    assert_eq!(code, Some(0));
    let over =
        out.find("\nend of the data: starting over with a new portfolio\n2007-07-02").expect("the line");
    assert!(out[over..].contains("\n2007-07-10  equity"), "{out}");
}

fn variable(command: &Command, name: &str) -> String {
    let value = command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
    value.unwrap().to_str().unwrap().to_owned()
}

/// Returns when the rules have been evaluated on what was recorded before the call, and Slack has taken what came of it.
fn until_told(port: u16) {
    let mut evaluations = Vec::new();
    patience::eventually("what the day has to tell", || {
        let Some(scrape) = http::try_scrape(port) else { return false };
        let of = |series| http::value(&scrape, series).unwrap();
        let took = of("trading_alert_evaluation_duration_seconds");
        if evaluations.last() != Some(&took) {
            evaluations.push(took);
        }
        // The first was before, the second may have begun before; what the third comes to is shown with the fourth.
        evaluations.len() >= 4 && of("trading_alert_queue_length{channel=\"slack\"}") == 0.0
    });
}

#[test]
fn the_drawdown_of_autumn_2008_is_told_as_one_story() {
    const DAYS: usize = 330;
    let slack = slack::FakeSlack::start();
    let (mut command, _folder) = replay(&["--step", "--days", &DAYS.to_string()]);
    let port = variable(&command, "SA_MONITORING__PROMETHEUS_PORT").parse().unwrap();
    let mut child = command
        .env("SLACK_WEBHOOK_URL", slack.webhook_url())
        .env("SA_ALERTS__SLACK__PACE_PER_SECOND", "1000")
        .env("SA_ALERTS__SLACK__BURST", "1000")
        .env("SA_ALERTS__EVALUATION_INTERVAL_SECONDS", "0.05")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut enter = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let days = lines.filter(|line| line.contains("  equity "));
    // To the middle of October 2008, where it ends by itself; from August on each day lasts until all that it has to tell
    // has been told.
    for day in days.take(DAYS - 1) {
        if day.as_str() > "2008-08" {
            until_told(port);
        }
        enter.write_all(b"\n").unwrap();
    }
    assert!(child.wait().unwrap().success());
    let messages: Vec<(String, String)> = slack
        .fake
        .accepted()
        .iter()
        .map(|arrival| {
            let payload: serde_json::Value = serde_json::from_str(&arrival.body).unwrap();
            let text = payload["blocks"][0]["text"]["text"].as_str().unwrap();
            let incident = text.split("• Incident: ").nth(1).and_then(|rest| rest.lines().next());
            (payload["text"].as_str().unwrap().to_owned(), incident.unwrap_or_default().to_owned())
        })
        .collect();
    let is = |headline: &str, word: &str, title: &str| headline.contains(word) && headline.ends_with(title);
    let halted =
        messages.iter().position(|(headline, _)| is(headline, "CRITICAL: ", "Kill Switch Activated"));
    let before = &messages[..halted.expect("the kill switch of 13 October")];
    let resolved = before.iter().rposition(|(headline, _)| is(headline, "RESOLVED: ", "Portfolio Drawdown"));
    let incident = &before[resolved.expect("the recovery of the beginning of October")].1;
    let story: Vec<&str> =
        before.iter().filter(|(_, id)| id == incident).map(|(headline, _)| headline.as_str()).collect();
    assert!(is(story[0], "WARNING: ", "Portfolio Drawdown"), "{story:?}");
    assert!(story.iter().any(|headline| is(headline, "CRITICAL: ", "Portfolio Drawdown")), "{story:?}");
    assert!(is(story[story.len() - 1], "RESOLVED: ", "Portfolio Drawdown"), "{story:?}");
    assert_eq!(slack.problems(), Vec::<String>::new());
}

/// Starts it, waits for a line that begins so, sends a Ctrl-C, and returns the lines that follow.
#[cfg(unix)]
fn interrupted(arguments: &[&str], at: &str) -> Vec<String> {
    let (mut command, _folder) = replay(arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with(at)), "no line begins with {at}");
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rest
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_the_report() {
    let rest = interrupted(&["--pace-ms", "60000"], "2007-07-02  equity");
    assert_eq!(rest.first().map(String::as_str), Some("stopping"));
    assert!(rest.len() > 1, "the report is missing: {rest:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_while_it_hurries_to_a_date() {
    let rest = interrupted(&["--from", "2009-06-30"], "Ctrl-C ends it");
    assert!(rest.iter().any(|line| line == "stopping"), "{rest:?}");
    assert!(!rest.iter().any(|line| line.starts_with("2009-06-30  equity")), "it went on: {rest:?}");
}
