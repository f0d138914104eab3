//! The replay as a person runs it.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/slack.rs"]
mod slack;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

#[path = "support/example.rs"]
mod example;

/// The example, built once.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example::program("market_replay"))
}

/// The program in an empty folder of its own, on a free port.
fn replay(folder: &str, arguments: &[&str]) -> Command {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("market_replay").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program());
    command.args(arguments).current_dir(folder).env("SA_MONITORING__PROMETHEUS_PORT", port.to_string());
    command.stdin(Stdio::null());
    command
}

fn output(folder: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = replay(folder, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_unknown_argument_is_a_clear_error() {
    let (code, out, err) = output("unknown", &["--speed", "3"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, "error: unknown argument `--speed`; see --help\n");
}

#[test]
fn help_names_every_option() {
    let (code, out, _) = output("help", &["--help"]);
    assert_eq!(code, Some(0));
    for option in ["--pace-ms N", "--days N", "--once", "--help"] {
        assert!(out.contains(option), "{option} in {out}");
    }
}

#[test]
fn one_pass_ends_with_the_data_and_the_report() {
    let (code, out, _) = output("once", &["--pace-ms", "0", "--once"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("http://127.0.0.1:"), "{out}");
    assert!(out.contains("2008-10-13 KILL SWITCH ON"), "{out}");
    let end = out.rfind("\n2009-06-30  equity").expect("the last day");
    assert!(out[end..].contains("\nend of the data\n"), "{out}");
}

#[test]
fn it_starts_over_and_says_so() {
    let (code, out, _) = output("over", &["--pace-ms", "0", "--days", "510"]);
    assert_eq!(code, Some(0));
    let over =
        out.find("\nend of the data: starting over with a new portfolio\n2007-07-02").expect("the line");
    assert!(out[over..].contains("\n2007-07-10  equity"), "{out}");
}

#[test]
fn the_drawdown_of_autumn_2008_is_told_as_one_story() {
    let slack = slack::FakeSlack::start();
    // To the middle of October 2008, slowly enough that each day is evaluated.
    let status = replay("autumn", &["--pace-ms", "100", "--days", "330"])
        .env("SLACK_WEBHOOK_URL", slack.webhook_url())
        .env("SA_ALERTS__SLACK__PACE_PER_SECOND", "1000")
        .env("SA_ALERTS__SLACK__BURST", "1000")
        .env("SA_ALERTS__EVALUATION_INTERVAL_SECONDS", "0.05")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
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

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_the_report() {
    let mut child = replay("ctrl_c", &["--pace-ms", "60000"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("2007-07-02  equity")).expect("the first day");
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rest.first().map(String::as_str), Some("stopping"));
    assert!(rest.len() > 1, "the report is missing: {rest:?}");
}
