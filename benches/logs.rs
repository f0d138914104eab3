//! What one JSON line with an order's and a trace's ids costs its caller, beside tracing-subscriber's JSON with the same
//! fields. Neither side may lose a line: ours waits when its queue is full, the peer writes through tracing-appender's
//! `non_blocking` with `lossy(false)`. Both format on the caller's thread and write on another; each side counts the
//! lines of its file in the end.
#![expect(clippy::unwrap_used, reason = "a bench fails where it stands")]

#[path = "support/collector.rs"]
mod collector;
#[path = "support/service.rs"]
mod service;
#[path = "support/side.rs"]
mod side;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use tracing::span::EnteredSpan;
use tracing_appender::non_blocking::NonBlockingBuilder;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, registry};

use collector::{COLLECTOR, Collector};
use service::{builder, log_line, settle};
use side::{Requests, Side, bursts, in_bursts, lines, serve};

fn main() {
    serve(&[
        COLLECTOR,
        ("ours", ours),
        ("tracing-subscriber", peer),
        ("tracing-subscriber_unwritten", unwritten),
    ]);
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}

fn compare(criterion: &mut Criterion) {
    let collector = Collector::healthy();
    let mut group = criterion.benchmark_group("log_line");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for (name, side, given, work) in [
        ("ours", "ours", "", "line"),
        ("ours_otlp", "ours", collector.url(), "line"),
        ("tracing-subscriber", "tracing-subscriber", "", "ids_in_span"),
        ("tracing-subscriber_ids_in_call", "tracing-subscriber", "", "ids_in_call"),
        ("tracing-subscriber_unwritten", "tracing-subscriber_unwritten", "", "ids_in_span"),
    ] {
        let mut side = Side::start(side, given);
        group.bench_function(name, |bencher| bencher.iter_custom(|rounds| side.time(work, rounds)));
    }
    group.finish();
}

fn ours(requests: &Requests) {
    let mut builder = builder();
    if !requests.given().is_empty() {
        builder = builder
            .set("otlp.endpoint", requests.given())
            .set("otlp.protocol", "grpc")
            .set("otlp.traces.export", "false");
    }
    let telemetry = builder.init().unwrap();
    let order =
        telemetry.order("abc123").symbol("AAPL").strategy("SwingMomentum").span("submit_order").entered();
    let mut written = 0;
    requests.answer(|_, rounds| {
        written += in_bursts(rounds);
        bursts(rounds, log_line, || settle(&telemetry))
    });
    drop(order);
    // The report is an error where a line or a record was lost.
    let report = telemetry.shutdown().unwrap();
    let delivered = |signal| report.signals().iter().find(|report| report.signal == signal)?.delivered;
    assert!(delivered("logs") >= Some(written), "{report}");
    assert!(requests.given().is_empty() || delivered("otlp logs") >= Some(written), "{report}");
}

/// A file that says how many lines have reached it: `non_blocking` has no flush.
struct Counting {
    file: File,
    written: Arc<AtomicU64>,
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        // One call is one line, and a file takes all of it.
        self.written.fetch_add(u64::from(bytes[..length].ends_with(b"\n")), Relaxed);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn peer(requests: &Requests) {
    let path = Path::new("peer.log");
    let written = Arc::new(AtomicU64::new(0));
    let file = Counting { file: File::create(path).unwrap(), written: Arc::clone(&written) };
    let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(file);
    install(writer);
    let logged = AtomicU64::new(0);
    requests.answer(|work, rounds| {
        time_peer(work, rounds, &logged, || {
            while written.load(Relaxed) < logged.load(Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
        })
    });
    drop(guard);
    assert_eq!(lines(path) as u64, logged.into_inner(), "the peer loses no line");
}

/// The peer's formatting alone, to tell what of its cost that is.
fn unwritten(requests: &Requests) {
    install(io::sink);
    requests.answer(|work, rounds| time_peer(work, rounds, &AtomicU64::new(0), || {}));
}

fn install<W>(writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer);
    let subscriber = registry().with(EnvFilter::new("info")).with(layer);
    tracing::subscriber::set_global_default(subscriber).unwrap();
}

fn time_peer(work: &str, rounds: u64, logged: &AtomicU64, settle: impl FnMut()) -> Duration {
    let in_span = work == "ids_in_span";
    let _order = in_span.then(span_with_ids);
    let line = if in_span { log_line } else { line_with_ids };
    let round = || {
        line();
        logged.fetch_add(1, Relaxed);
    };
    bursts(rounds, round, settle)
}

/// As a user of tracing-subscriber has them on each line: as fields of the span around it.
fn span_with_ids() -> EnteredSpan {
    tracing::info_span!(
        "submit_order",
        order_id = "abc123",
        symbol = "AAPL",
        strategy = "SwingMomentum",
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
        span_id = "00f067aa0ba902b7",
        service = "execution",
    )
    .entered()
}

/// The cheapest way of all to have them: in each call.
fn line_with_ids() {
    tracing::info!(
        quantity = 100,
        price = 150.25,
        order_id = "abc123",
        symbol = "AAPL",
        strategy = "SwingMomentum",
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
        span_id = "00f067aa0ba902b7",
        service = "execution",
        "order_submitted"
    );
}
