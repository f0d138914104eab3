//! A bad day, lived through: the market replay at full speed on eight threads, a scrape each 100 ms, an alert storm, and a
//! collector that never answers.
//!
//!     cargo bench --bench soak -- --seconds 600
//!
//! Memory and file descriptors have to stay flat once the service is warm, and every count has to be the one that the
//! desks themselves kept; where one of these is not so, this fails. How long recordings took is told beside a calm
//! run of the same desks (no scrape, no storm, no collector), and not judged: it is the machine's as much as ours. The
//! whole is in target/soak-report.json. It reads /proc, so it needs Linux.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool talks to a person, and fails where it stands"
)]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures that a person reads are far below 2^52"
)]
#![cfg_attr(
    test,
    allow(dead_code, unused_imports, reason = "the replay's own tests are run with the replay")
)]

// The replay, with a recorder that keeps count.
#[path = "../../examples/market_replay/account.rs"]
mod account;
#[path = "../../examples/market_replay/bars.rs"]
mod bars;
#[path = "../../examples/market_replay/broker.rs"]
mod broker;
#[path = "../support/collector.rs"]
mod collector;
#[path = "../../examples/market_replay/desk.rs"]
#[allow(dead_code, reason = "the day's report is for the replay's own screen")]
mod desk;
#[path = "../../examples/market_replay/drift.rs"]
mod drift;
#[path = "../../examples/market_replay/execution.rs"]
mod execution;
#[path = "../../examples/market_replay/indicators.rs"]
mod indicators;
mod latency;
#[path = "../../examples/market_replay/model.rs"]
mod model;
#[path = "../../examples/market_replay/orders.rs"]
mod orders;
#[path = "../../examples/market_replay/telemetry.rs"]
#[allow(dead_code, reason = "the service is started here in its own way")]
mod replay;
mod report;
#[path = "../../examples/market_replay/risk.rs"]
mod risk;
mod service;
#[path = "../support/service.rs"]
mod setup;
#[path = "../support/side.rs"]
mod side;
#[path = "../../examples/market_replay/strategies.rs"]
mod strategies;
mod telemetry;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use collector::{COLLECTOR, Collector};
use report::Run;
use side::{Side, serve};
use watch::Slack;

/// The market of the replay.
pub(crate) const BARS: &str = include_str!("../../examples/data/daily_bars_2007_2009.csv");

/// What is run where nobody says for how long.
const SHORT: u64 = 20;

fn main() -> ExitCode {
    serve(&[COLLECTOR, ("service", service::serve)]);
    let seconds = seconds();
    let calm = Run::live(Side::start("service", ""), Duration::from_secs((seconds / 4).clamp(5, 60)), false);
    let (collector, slack) = (Collector::hung(), Slack::start());
    let given = format!("{} {}", collector.url(), slack.url());
    let storm = Run::live(Side::start("service", &given), Duration::from_secs(seconds), true);
    report::tell(&calm, &storm, slack.messages())
}

fn seconds() -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--seconds").skip(1);
    arguments.next().map_or(SHORT, |seconds| seconds.parse().unwrap())
}
