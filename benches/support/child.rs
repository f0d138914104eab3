//! A service in a process of its own: there is one start of the telemetry per process.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use trading_telemetry::TelemetryBuilder;

use crate::support;

const PART: &str = "BENCH_PART";

/// Which part this process is to run, if it is a child.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Runs this bench again for one part of it, in an empty folder with this file of alert rules, and waits for its end.
pub(crate) fn run(part: &str, rules: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("config")).expect("a folder");
    if !rules.is_empty() {
        std::fs::write(folder.path().join("config/alerts.yaml"), rules).expect("a file");
    }
    let home = std::path::absolute(support::home()).expect("a path");
    let status = child(part, folder.path()).env("CRITERION_HOME", home).status().expect("it starts");
    assert!(status.success(), "{part} ended with {status}");
}

/// This bench again, without what this process' environment says of telemetry.
pub(crate) fn child(part: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    for (name, _) in std::env::vars_os() {
        let ours = ["SA_", "OTEL_", "SLACK_", "TELEGRAM_", "RUST_LOG"];
        if name.to_str().is_some_and(|name| ours.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command.args(std::env::args_os().skip(1)).env(PART, part).current_dir(folder);
    command
}

/// A desk on a free port.
pub(crate) fn desk() -> TelemetryBuilder {
    let builder = trading_telemetry::Telemetry::builder().service_name("desk");
    builder.set("monitoring.prometheus_port", free_port().to_string())
}

/// A port that nobody listens on, outside the range that systems take for outgoing connections.
pub(crate) fn free_port() -> u16 {
    let own = u16::try_from(std::process::id() % 15_000).expect("a small number");
    let mut ports = (0..15_000).map(|offset| 15_000 + (own + offset) % 15_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
