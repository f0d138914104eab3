//! What only a process of its own shows: standard error and the global subscriber.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tracing::{error, info, warn};
use tracing_subscriber::prelude::*;
use trading_telemetry::clock::SystemClock;
use trading_telemetry::logs::{LogConfig, LogFormat, Logs, WhenFull};

const LONG: Duration = Duration::from_mins(1);
const DIR: &str = "LOGS_TEST_PROCESS_DIR";

/// Runs the test of that name again, as a process that has `LOGS_TEST_PROCESS_DIR`.
fn again(test: &str, dir: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap()).args(["--exact", test]).env(DIR, dir).output().unwrap()
}

fn global(change: impl FnOnce(&mut LogConfig)) -> Option<Logs> {
    let dir = PathBuf::from(std::env::var_os(DIR)?);
    let mut config = LogConfig::new("backend");
    config.file.path = dir.join("backend.log");
    config.format = LogFormat::Json;
    change(&mut config);
    let logs = Logs::start(config, Arc::new(SystemClock::new()), |_| ()).unwrap();
    tracing_subscriber::registry().with(logs.layer()).init();
    Some(logs)
}

fn lines(dir: &Path) -> Vec<Json> {
    let text = fs::read_to_string(dir.join("backend.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_console_shows_a_person_each_line_and_no_terminal_escape_of_a_caller() {
    if let Some(logs) = global(|config| config.format = LogFormat::Console) {
        info!(symbol = "AAPL", quantity = 100, price = 150.0, note = "two words", "order_submitted");
        error!(reply = "\u{1b}[2J\u{9b}2J", "feed_failed");
        logs.shutdown(LONG).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = again("the_console_shows_a_person_each_line_and_no_terminal_escape_of_a_caller", dir.path());
    let shown = String::from_utf8(output.stderr).unwrap();
    let shown: Vec<_> = shown.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
    let expected = [
        r#"INFO  order_submitted symbol=AAPL quantity=100 price=150.0 note="two words" logs_process"#,
        r#"ERROR feed_failed reply="\u001b[2J\u{9b}2J" logs_process"#,
    ];
    assert_eq!(shown, expected);
    assert_eq!(lines(dir.path()).len(), 2);
}

#[test]
fn an_event_inside_a_values_formatting_leaves_both_lines_whole() {
    struct Chatty;
    impl fmt::Display for Chatty {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            info!(inner = 1, "inner");
            out.write_str("value")
        }
    }

    if let Some(logs) = global(|_| ()) {
        info!(before = 1, chatty = %Chatty, after = 2, "outer");
        logs.shutdown(LONG).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(
        again("an_event_inside_a_values_formatting_leaves_both_lines_whole", dir.path()).status.success()
    );
    let lines = lines(dir.path());
    let of = |index: usize, key: &str| lines[index][key].clone();
    assert_eq!((of(0, "event"), of(0, "inner")), ("inner".into(), 1.into()));
    assert_eq!((of(1, "event"), of(1, "chatty"), of(1, "after")), ("outer".into(), "value".into(), 2.into()));
}

#[test]
fn a_listener_that_logs_does_not_stop_the_log() {
    if let Some(dir) = std::env::var_os(DIR) {
        let mut config = LogConfig::new("backend");
        config.file.path = Path::new(&dir).join("logs/backend.log");
        config.queue.when_full = WhenFull::Block;
        config.queue.lines = 1;
        config.queue.block_for = LONG;
        let logs = Logs::start(config, Arc::new(SystemClock::new()), |notice| {
            (0..10).for_each(|_| warn!(kind = ?notice.kind, "log_notice"));
        });
        let logs = logs.unwrap();
        tracing_subscriber::registry().with(logs.layer()).init();
        fs::rename(Path::new(&dir).join("logs"), Path::new(&dir).join("away")).unwrap();
        fs::write(Path::new(&dir).join("logs"), "in the way").unwrap();
        info!("refused");
        assert!(logs.flush(Duration::from_millis(500)).is_err());
        fs::remove_file(Path::new(&dir).join("logs")).unwrap();
        let start = Instant::now();
        logs.shutdown(LONG).unwrap();
        assert!(start.elapsed() < LONG / 2);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = again("a_listener_that_logs_does_not_stop_the_log", dir.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let events: Vec<_> = lines(&dir.path().join("logs")).iter().map(|line| line["event"].clone()).collect();
    assert!(events.contains(&"refused".into()) && events.contains(&"log_notice".into()), "{events:?}");
}
