//! An order that crosses two processes is one trace, and both logs name it.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

#[path = "support/example.rs"]
mod example;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_order_is_found_by_its_id_and_its_trace_in_both_processes() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("order_across");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let _executor = Stopped(example("executor", &folder, &address).spawn().unwrap());
    eventually("the executor listens", || TcpStream::connect(&address).is_ok());

    let gateway = example("gateway", &folder, &address).arg("xyz-42").output().unwrap();
    assert!(gateway.status.success(), "{gateway:?}");
    assert!(String::from_utf8_lossy(&gateway.stdout).starts_with("order xyz-42: filled\n"), "{gateway:?}");

    eventually("the executor's lines", || line(&folder, "executor", "order_executed").is_some());
    let sent = line(&folder, "gateway", "order_submitted").expect("the gateway's line");
    let executed = line(&folder, "executor", "order_executed").expect("the executor's line");
    for line in [&sent, &executed] {
        assert_eq!(line["order_id"], "xyz-42");
        assert_eq!(line["symbol"], "AAPL");
        assert_eq!(line["strategy"], "SwingMomentum");
    }
    assert_eq!(sent["trace_id"], executed["trace_id"]);
    assert_ne!(sent["span_id"], executed["span_id"]);
}

/// An example in the folder, with a port of its own for its metrics.
fn example(name: &str, folder: &Path, address: &str) -> Command {
    let mut command = Command::new(example::program(name));
    command.current_dir(folder);
    command.env("EXECUTOR_ADDRESS", address).env("SA_MONITORING__PROMETHEUS_PORT", free_port().to_string());
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn line(folder: &Path, service: &str, event: &str) -> Option<Value> {
    let text = std::fs::read_to_string(folder.join("logs").join(format!("{service}.log"))).ok()?;
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find(|line: &Value| line["event"] == event)
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < until, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
