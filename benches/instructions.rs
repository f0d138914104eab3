//! The guard of the hot calls: how many instructions each takes, counted by valgrind, against the committed baseline.
//!
//!     cargo bench --bench instructions              compares; fails where a call is more than 10 % dearer
//!     cargo bench --bench instructions -- --renew   writes the baseline anew, deliberately: say why in the commit
//!
//! Instructions, unlike times, are the same on a busy machine. The program runs itself under valgrind, which collects
//! only inside [`counted`] and on the thread that is there, so nothing that other threads do is in the figures; and it
//! gives such a program one processor's features, whatever the machine's. Each call is warm when it is counted, and counted
//! five times: the least counts, and what is more is a thread that came in between.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool talks to a person"
)]

#[path = "support/service.rs"]
mod service;
#[path = "support/side.rs"]
mod side;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use trading_telemetry::audit::OrderDetails;
use trading_telemetry::{OrderStatus, OrderType, PortfolioSnapshot, RiskResult, Side, Telemetry};

use service::{builder, log_line};

/// Names what a process under valgrind counts.
const COUNTS: &str = "BENCH_COUNTS";
/// Few enough that no queue fills and no buffer of the log grows.
const ROUNDS: u32 = 400;
const REPEATS: usize = 5;
const ALLOWED_PERCENT: f64 = 10.0;

type Counts = BTreeMap<String, f64>;

fn main() -> ExitCode {
    if let Ok(service) = std::env::var(COUNTS) {
        count(&service);
        return ExitCode::SUCCESS;
    }
    let now: Counts = [PLAIN, EXPORTING].into_iter().flat_map(under_valgrind).collect();
    let compiler = compiler();
    if std::env::args().any(|argument| argument == "--renew") {
        fs::write(baseline_file(), render(&compiler, &now)).unwrap();
        println!(
            "instructions: {} now holds these figures\n{}",
            baseline_file().display(),
            table(&now, &Counts::new())
        );
        return ExitCode::SUCCESS;
    }
    let (baseline_compiler, baseline) = read_baseline();
    if baseline_compiler != compiler {
        println!("{}", table(&now, &Counts::new()));
        println!(
            "instructions: NOT COMPARED: the baseline belongs to {baseline_compiler}, and this is {compiler}; \
             `cargo bench --bench instructions -- --renew` makes it this compiler's"
        );
        return ExitCode::SUCCESS;
    }
    println!("{}", table(&now, &baseline));
    let complaints = complaints(&now, &baseline);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is counted, in its order, in a service without export and in one with.
const PLAIN: &str = "plain";
const EXPORTING: &str = "exporting";
const CALLS: [(&str, &[&str]); 2] = [
    (
        PLAIN,
        &[
            "order_count",
            "fill_latency",
            "gauge",
            "portfolio_snapshot",
            "risk_check",
            "order_count_in_order",
            "fill_latency_in_order",
            "audit_line_in_order",
            "log_line_in_order",
            "order_span",
        ],
    ),
    (EXPORTING, &["log_line_in_order_exported", "order_span_exported"]),
];

/// Valgrind collects in here alone, and writes what it has when this returns.
#[inline(never)]
fn counted(rounds: u32, call: &mut dyn FnMut()) {
    for _ in 0..rounds {
        call();
    }
}

/// The process under valgrind: makes the calls, in the order of [`CALLS`].
fn count(service: &str) {
    let mut builder = builder();
    if service == EXPORTING {
        // Nothing is sent while it is counted: the queue takes all of it, and nobody listens there anyway.
        builder = builder.set("otlp.endpoint", "http://127.0.0.1:9");
        for queue in ["otlp.trace_batch", "otlp.log_batch"] {
            for (key, value) in
                [("queue_items", "100000"), ("batch_items", "100000"), ("delay_seconds", "3600")]
            {
                builder = builder.set(format!("{queue}.{key}"), value);
            }
        }
    }
    let telemetry = builder.init().unwrap();
    let (_, names) = CALLS.iter().find(|(known, _)| *known == service).unwrap();
    for name in *names {
        let within = name.contains("_in_order").then(|| order(&telemetry).entered());
        let mut call = call(name, &telemetry);
        let settle = || {
            if service == EXPORTING {
                // A flush would export, and lose, what the queue holds; the log's thread writes by itself.
                std::thread::sleep(Duration::from_millis(200));
                return true;
            }
            telemetry.flush(service::PATIENCE)
        };
        // Twice: the log's two buffers take turns and have to have their size.
        for _ in 0..2 {
            (0..2 * ROUNDS).for_each(|_| call());
            assert!(settle());
        }
        for _ in 0..REPEATS {
            counted(ROUNDS, &mut *call);
            assert!(settle());
        }
        drop(call);
        drop(within);
    }
    // Nobody took what was exported: it is lost, and nobody waits for it.
    _ = telemetry.shutdown_within(Duration::from_secs(5));
}

fn order(telemetry: &Telemetry) -> tracing::Span {
    telemetry.order("abc123").symbol("AAPL").strategy("SwingMomentum").span("submit_order")
}

fn call<'a>(name: &str, telemetry: &'a Telemetry) -> Box<dyn FnMut() + 'a> {
    let metrics = telemetry.metrics();
    let swing = metrics.strategy("SwingMomentum");
    let snapshot = PortfolioSnapshot {
        equity_dollars: 105_432.5,
        cash_dollars: 52_716.25,
        positions: 8,
        daily_pnl_dollars: 543.2,
        daily_pnl_pct: 0.52,
        drawdown_pct: 3.2,
    };
    let details =
        OrderDetails { side: Side::Buy, order_type: OrderType::Limit, quantity: 100.0, price: Some(150.25) };
    match name {
        "order_count" | "order_count_in_order" => {
            Box::new(move || swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled))
        }
        "fill_latency" | "fill_latency_in_order" => Box::new(|| metrics.execution().fill_latency_ms(1250.0)),
        "gauge" => Box::new(|| metrics.ml().accuracy(0.58)),
        "portfolio_snapshot" => Box::new(move || metrics.portfolio().record(&snapshot)),
        "risk_check" => Box::new(|| metrics.risk().check(RiskResult::Approve)),
        "audit_line_in_order" => Box::new(move || {
            telemetry.audit().order(&swing, "abc123", "AAPL", details).risk_check(RiskResult::Approve, None);
        }),
        "log_line_in_order" | "log_line_in_order_exported" => Box::new(log_line),
        "order_span" | "order_span_exported" => Box::new(|| drop(order(telemetry).entered())),
        unknown => unreachable!("no call {unknown}"),
    }
}

/// Runs the calls of one service under valgrind.
fn under_valgrind(service: &str) -> Counts {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=counts", "--collect-atstart=no"])
        .args(["--toggle-collect=instructions::counted", "--dump-after=instructions::counted"])
        .arg(std::env::current_exe().unwrap())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env(COUNTS, service)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("valgrind does not start ({error}); install it: apt-get install valgrind")
        });
    let told = String::from_utf8_lossy(&valgrind.stderr);
    assert!(valgrind.status.success(), "the calls fail under valgrind:\n{told}");
    let (_, names) = CALLS.iter().find(|(known, _)| *known == service).unwrap();
    let total = |dump: usize| total(&folder.path().join(format!("counts.{dump}")));
    let per_call = |index: usize| {
        let dumps = index * REPEATS + 1..=(index + 1) * REPEATS;
        dumps.map(total).fold(f64::INFINITY, f64::min) / f64::from(ROUNDS)
    };
    names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), per_call(index))).collect()
}

/// The instructions of one dump.
fn total(dump: &Path) -> f64 {
    let text = fs::read_to_string(dump).unwrap_or_else(|error| panic!("{}: {error}", dump.display()));
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.unwrap().trim().parse().unwrap()
}

/// The compiler that the figures belong to.
fn compiler() -> String {
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let part = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    format!("rustc {} {}", part("release:"), part("host:"))
}

fn baseline_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.baseline")
}

fn render(compiler: &str, counts: &Counts) -> String {
    let mut text = format!("# Instructions a call; see instructions.rs. They belong to\n{compiler}\n");
    for (name, count) in counts {
        writeln!(text, "{name} {count:.1}").unwrap();
    }
    text
}

fn read_baseline() -> (String, Counts) {
    let text = fs::read_to_string(baseline_file()).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let compiler = lines.next().unwrap().to_owned();
    let counts = lines.map(|line| {
        let (name, count) = line.split_once(' ').unwrap();
        (name.to_owned(), count.parse().unwrap())
    });
    (compiler, counts.collect())
}

fn table(now: &Counts, baseline: &Counts) -> String {
    let mut text = format!("{:<28} {:>12} {:>12} {:>8}\n", "call", "instructions", "baseline", "");
    for (name, count) in now {
        let before = baseline.get(name);
        let old = before.map_or_else(String::new, |before| format!("{before:.1}"));
        let change = before.map_or_else(String::new, |before| format!("{:+.1} %", percent(*count, *before)));
        writeln!(text, "{name:<28} {count:>12.1} {old:>12} {change:>8}").unwrap();
    }
    text
}

fn percent(now: f64, before: f64) -> f64 {
    (now / before - 1.0) * 100.0
}

/// What is not as the baseline has it.
fn complaints(now: &Counts, baseline: &Counts) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, count) in now {
        let Some(before) = baseline.get(name) else {
            complaints.push(format!("instructions: {name} is not in the baseline"));
            continue;
        };
        let percent = percent(*count, *before);
        if percent > ALLOWED_PERCENT {
            complaints.push(format!(
                "instructions: {name} is {percent:.1} % dearer: {count:.1} instructions a call, {before:.1} in the baseline \
                 ({ALLOWED_PERCENT} % are allowed)"
            ));
        }
    }
    let gone = baseline.keys().filter(|name| !now.contains_key(*name));
    complaints.extend(gone.map(|name| format!("instructions: {name} of the baseline is counted no more")));
    if !complaints.is_empty() {
        complaints.push(
            "make it cheaper; or, where it is worth its price, renew the baseline and say why in the commit: \
             cargo bench --bench instructions -- --renew"
                .to_owned(),
        );
    }
    complaints
}
