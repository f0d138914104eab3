//! The files of a replay, as an auditor reads them.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

#[path = "support/example.rs"]
mod example;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use serde_json::Value;

/// How an order can end.
const FINAL: [&str; 5] =
    ["order_filled", "order_partially_filled", "order_cancelled", "order_rejected", "order_expired"];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The lines of all log files in a folder: rotated ones, packed or not, and the live one.
fn log_lines(folder: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // `.log` comes before `.log.000001` by name, and after them in time.
    files.sort_by_key(|path| (path.extension().is_some_and(|extension| extension == "log"), path.clone()));
    let mut text = String::new();
    for path in files {
        let mut file = std::fs::File::open(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "gz") {
            GzDecoder::new(file).read_to_string(&mut text).unwrap();
        } else {
            file.read_to_string(&mut text).unwrap();
        }
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What an auditor does months later, with nothing but the files.
#[test]
fn the_files_alone_tell_the_whole_story_of_every_order() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(example::program("market_replay"))
        .args(["--pace-ms", "0", "--once"])
        .current_dir(folder.path())
        .env("SA_MONITORING__PROMETHEUS_PORT", free_port().to_string())
        .env("SA_LOGGING__MAX_FILE_BYTES", "200000")
        .env("SA_LOGGING__MAX_FILES", "1000")
        .env("RUST_LOG", "error")
        .output()
        .unwrap();
    assert!(output.status.success());
    let lines = log_lines(&folder.path().join("logs"));

    let mut orders = BTreeMap::<&str, Vec<&Value>>::new();
    for line in lines.iter().filter(|line| line["logger"] == "audit") {
        if let Some(id) = line["order_id"].as_str() {
            orders.entry(id).or_default().push(line);
        }
    }
    assert!(orders.len() > 1000, "{}", orders.len());
    let (mut pnl, mut position) = (0.0, BTreeMap::<(&str, &str), f64>::new());
    for (id, story) in orders {
        let all =
            |event: &str| story.iter().copied().filter(|line| line["event"] == event).collect::<Vec<_>>();
        assert!(story.iter().all(|line| line["trace_id"].is_string() && line["span_id"].is_string()), "{id}");
        assert!(story.windows(2).all(|pair| pair[0]["timestamp"].as_str() <= pair[1]["timestamp"].as_str()));
        let who = |line: &Value| ["symbol", "strategy", "side", "order_type"].map(|key| line[key].clone());
        let submitted = story[0];
        assert_eq!(submitted["event"], "order_submitted", "{id}: {story:?}");
        assert!(submitted["quantity"].as_u64() > Some(0) && who(submitted).iter().all(Value::is_string));
        for line in story.iter().filter(|line| line["event"] != "pdt_day_trade_recorded") {
            assert_eq!(who(line), who(submitted), "{id}");
        }

        let executed: f64 = all("trade_executed").iter().map(|line| line["quantity"].as_f64().unwrap()).sum();
        let ends: Vec<_> =
            story.iter().filter(|line| FINAL.iter().any(|end| line["event"] == *end)).collect();
        let [end] = ends[..] else { panic!("{id} ends {} times", ends.len()) };
        let expected = match end["event"].as_str().unwrap() {
            "order_filled" => submitted["quantity"].as_f64(),
            "order_partially_filled" => end["filled_quantity"].as_f64(),
            _ => Some(0.0),
        };
        // A risk check may have made the order smaller.
        let reduced = all("risk_check").iter().any(|check| check["result"] == "reduce_size");
        assert!(Some(executed) == expected || reduced && Some(executed) < expected, "{id}: {story:?}");
        assert!(end["event"] == "order_filled" || end["reason"].is_string(), "{id}: no reason in {end}");
        if end["event"] == "order_rejected" {
            assert!(all("risk_check").iter().any(|check| check["result"] != "approve"), "{id}: {story:?}");
        }

        let [symbol, strategy] = ["symbol", "strategy"].map(|key| submitted[key].as_str().unwrap());
        let signed = if submitted["side"] == "BUY" { executed } else { -executed };
        *position.entry((symbol, strategy)).or_default() += signed;
        pnl += all("trade_closed").iter().map(|line| line["pnl_dollars"].as_f64().unwrap()).sum::<f64>();
    }
    assert!(position.values().all(|shares| *shares == 0.0), "nothing is open at the end: {position:?}");
    // The portfolio's own word, after 100,000 at the start.
    let out = String::from_utf8(output.stdout).unwrap();
    let last = out.lines().rfind(|line| line.starts_with("2009-06-30  equity")).unwrap();
    let equity: f64 = last.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!((100_000.0 + pnl - equity).abs() < 0.01, "{pnl} and {last}");
}
