//! The start: a service up to the moment where `init_telemetry` returns.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and says what it saw"
)]

#[path = "support/child.rs"]
mod child;
#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

/// The environments of the starts: nothing but the log, and a desk whose people are told over TLS.
const STARTS: [(&str, &[(&str, &str)]); 2] = [
    ("start/init", &[]),
    (
        "start/channels",
        &[
            ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T00000000/B00000000/XXhookXX"),
            ("TELEGRAM_BOT_TOKEN", "123456789:AAtokenAA"),
            ("TELEGRAM_CHAT_ID", "4711"),
        ],
    ),
];

fn main() {
    if child::part().is_some() {
        let began = Instant::now();
        let started = trading_telemetry::init_telemetry();
        let took = began.elapsed();
        let telemetry = started.expect("it starts");
        println!("{}", took.as_nanos());
        drop(telemetry.shutdown_within(Duration::from_millis(100)));
        return;
    }
    for (id, variables) in STARTS {
        let times = (0..support::events(15)).map(|_| start(variables)).collect();
        support::keep(id, times);
    }
}

fn start(variables: &[(&str, &str)]) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = child::child("start", folder.path());
    command
        .env("OTEL_SERVICE_NAME", "desk")
        .env("SA_MONITORING__PROMETHEUS_PORT", child::free_port().to_string());
    let output = command.envs(variables.iter().copied()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let nanoseconds = text.lines().last().and_then(|line| line.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_else(|| panic!("{text}{output:?}")))
}
