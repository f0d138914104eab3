//! What came of it, and whether it is well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::service::{QUANTILES, THREADS};
use crate::side::Side;
use crate::telemetry::Call;
use crate::watch::{Seen, scrape, watch};

/// One life of the service.
pub(crate) struct Run {
    time: Duration,
    seen: Seen,
    lines: u64,
    /// Calls, and the quantiles of their times in nanoseconds.
    times: BTreeMap<String, (u64, [u64; QUANTILES.len()])>,
    wrong_counts: Vec<String>,
    right_counts: usize,
    recorded: u64,
    /// What each signal delivered and lost.
    signals: BTreeMap<String, (u64, u64)>,
}

impl Run {
    /// Lives through it. `scraped` says whether it is scraped meanwhile.
    pub(crate) fn live(mut service: Side, time: Duration, scraped: bool) -> Self {
        let address = service.says().parse().unwrap();
        let seen = watch(service.id(), scraped.then_some(address), time);
        service.tell("stop");
        let lines = service.says().parse().unwrap();
        let times = Call::ALL.map(|_| {
            let told = service.says();
            let (call, figures) = told.split_once(' ').unwrap();
            let figures: Vec<u64> = figures.split(' ').map(|figure| figure.parse().unwrap()).collect();
            (call.to_owned(), (figures[0], figures[1..].try_into().unwrap()))
        });
        let expected = until_empty(&mut service);
        let at_the_end = scrape(address).unwrap();
        service.tell("end");
        let signals = until_empty(&mut service).into_iter().map(|line| {
            let (signal, figures) = line.split_once(": ").unwrap();
            let (delivered, lost) = figures.split_once(' ').unwrap();
            (signal.to_owned(), (delivered.parse().unwrap(), lost.parse().unwrap()))
        });
        let signals = signals.collect();
        let wrong_counts = wrong_counts(&expected, &at_the_end);
        let recorded =
            expected.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        Self {
            time,
            seen,
            lines,
            times: times.into(),
            wrong_counts,
            right_counts: expected.len(),
            recorded,
            signals,
        }
    }

    fn delivered(&self, signal: &str) -> u64 {
        self.signals.get(signal).map_or(0, |(delivered, _)| *delivered)
    }

    fn lost(&self, signal: &str) -> u64 {
        self.signals.get(signal).map_or(0, |(_, lost)| *lost)
    }

    /// Half of the time, and no more than two minutes, is for caches, queues and buffers to reach their size.
    fn warm_up(&self) -> u64 {
        (self.time.as_secs() / 2).min(120)
    }

    /// The most of a figure while it was warming up, and the most afterwards.
    fn most(&self, figure: impl Fn(&crate::watch::Look) -> u64) -> (u64, u64) {
        let (before, after): (Vec<_>, Vec<_>) =
            self.seen.looks.iter().partition(|look| look.second <= self.warm_up());
        let most = |looks: Vec<&crate::watch::Look>| looks.into_iter().map(&figure).max().unwrap_or(0);
        (most(before), most(after))
    }
}

fn until_empty(service: &mut Side) -> Vec<String> {
    std::iter::from_fn(|| {
        let line = service.says();
        (!line.is_empty()).then_some(line)
    })
    .collect()
}

/// Counts of the scrape that are not what the desks counted. Series that they never touched stand at 0.
fn wrong_counts(expected: &[String], scrape: &str) -> Vec<String> {
    let expected: BTreeMap<&str, f64> = expected
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, count)| (series, count.parse().unwrap()))
        .collect();
    let families: Vec<&str> = expected.keys().map(|series| series.split('{').next().unwrap()).collect();
    let mut shown = BTreeMap::new();
    for line in scrape.lines().filter(|line| families.iter().any(|family| line.starts_with(family))) {
        // An exemplar may follow.
        let sample = line.split(" # ").next().unwrap();
        let (series, value) = sample.rsplit_once(' ').unwrap();
        shown.insert(series, value.parse::<f64>().unwrap());
    }
    let zero = 0.0;
    let wrong = expected.keys().chain(shown.keys()).filter_map(|series| {
        let (counted, stands_at) = (expected.get(series).unwrap_or(&zero), shown.get(series));
        (stands_at != Some(counted))
            .then(|| format!("{series} is {stands_at:?}, and {counted} were recorded"))
    });
    let wrong: std::collections::BTreeSet<String> = wrong.collect();
    wrong.into_iter().collect()
}

/// Prints the report, writes it down, and says whether all is well.
pub(crate) fn tell(calm: &Run, storm: &Run, messages: u64) -> ExitCode {
    let complaints = complaints(storm, messages);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("soak-report.json");
    fs::write(&path, serde_json::to_string_pretty(&json(calm, storm, messages, &complaints)).unwrap())
        .unwrap();
    println!("{}\n{}", table(calm, storm, messages), path.display());
    for complaint in &complaints {
        println!("soak: {complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complaints(storm: &Run, messages: u64) -> Vec<String> {
    let mut complaints = storm.wrong_counts.clone();
    let mut expect = |holds: bool, complaint: String| {
        if !holds {
            complaints.push(complaint);
        }
    };
    let (before, after) = storm.most(|look| look.resident_kb);
    // A sixth and 16 MB more: allocators keep what busy threads return, and a busy machine lets queues fill.
    expect(
        after <= before + before / 6 + (16 << 10),
        format!("memory grows: {before} kB warm, {after} kB later"),
    );
    let (before, after) = storm.most(|look| look.descriptors as u64);
    // A scrape, a message and an export may be under way at once, with two log files open.
    expect(after <= before + 6, format!("file descriptors grow: {before} warm, {after} later"));
    let failed = &storm.seen.failed_scrapes;
    expect(failed.is_empty(), format!("{} scrapes failed, the first: {:?}", failed.len(), failed.first()));
    expect(messages > 0, "no alert has reached Slack".to_owned());
    let (spans, _) = storm.times[Call::Span.as_str()];
    let lost = storm.lost("otlp traces");
    expect(lost == spans, format!("{spans} spans could not be exported, and {lost} are told as lost"));
    let (written, lost) = (storm.delivered("logs"), storm.lost("logs"));
    expect(
        lost == 0 && written >= storm.lines,
        format!("{} decisions were made, {written} lines written and {lost} lost", storm.lines),
    );
    complaints
}

fn table(calm: &Run, storm: &Run, messages: u64) -> String {
    let mut text = String::new();
    let seconds = storm.time.as_secs_f64();
    let memory = storm.most(|look| look.resident_kb);
    let descriptors = storm.most(|look| look.descriptors as u64);
    let mut row = |what: &str, figure: String| writeln!(text, "{what:<34} {figure}").unwrap();
    row("soak", format!("{seconds:.0} s, {THREADS} recording threads"));
    row("memory, most warming up / later", format!("{:.1} MB / {:.1} MB", mb(memory.0), mb(memory.1)));
    row("descriptors, warming up / later", format!("{} / {}", descriptors.0, descriptors.1));
    row(
        "recorded counts, series compared",
        format!("{}, {}, {} wrong", storm.recorded, storm.right_counts, storm.wrong_counts.len()),
    );
    row(
        "lines written, a second, lost",
        format!(
            "{}, {:.0}, {}",
            storm.delivered("logs"),
            storm.delivered("logs") as f64 / seconds,
            storm.lost("logs")
        ),
    );
    row(
        "spans, lines lost at the collector",
        format!("{}, {}", storm.lost("otlp traces"), storm.lost("otlp logs")),
    );
    row("alerts in Slack", messages.to_string());
    row(
        "scrapes, failed, slowest",
        format!(
            "{}, {}, {} ms",
            storm.seen.scrapes,
            storm.seen.failed_scrapes.len(),
            storm.seen.slowest_scrape.as_millis()
        ),
    );
    writeln!(
        text,
        "\n{:<10} {:>12} {:>9} {:>9} {:>9}   a calm run of {} s:",
        "call, ns",
        "calls",
        "p50",
        "p99",
        "p99.9",
        calm.time.as_secs()
    )
    .unwrap();
    for (call, (calls, [p50, p99, p999])) in &storm.times {
        let (_, calm) = calm.times[call];
        writeln!(
            text,
            "{call:<10} {calls:>12} {p50:>9} {p99:>9} {p999:>9}   {:>9} {:>9} {:>9}",
            calm[0], calm[1], calm[2]
        )
        .unwrap();
    }
    text
}

fn mb(kb: u64) -> f64 {
    kb as f64 / 1024.0
}

fn json(calm: &Run, storm: &Run, messages: u64, complaints: &[String]) -> Value {
    let run = |run: &Run| {
        let looks = run.seen.looks.iter().map(|look| {
            json!({"second": look.second, "resident_kb": look.resident_kb, "descriptors": look.descriptors})
        });
        let times = run.times.iter().map(|(call, (calls, [p50, p99, p999]))| {
            json!({"call": call, "calls": calls, "p50_ns": p50, "p99_ns": p99, "p99_9_ns": p999})
        });
        let signals = run.signals.iter().map(
            |(signal, (delivered, lost))| json!({"signal": signal, "delivered": delivered, "lost": lost}),
        );
        json!({
            "seconds": run.time.as_secs(),
            "threads": THREADS,
            "recorded": run.recorded,
            "decisions": run.lines,
            "wrong_counts": run.wrong_counts,
            "times": times.collect::<Vec<_>>(),
            "signals": signals.collect::<Vec<_>>(),
            "scrapes": run.seen.scrapes,
            "failed_scrapes": run.seen.failed_scrapes,
            "slowest_scrape_ms": run.seen.slowest_scrape.as_millis() as u64,
            "looks": looks.collect::<Vec<_>>(),
        })
    };
    json!({"storm": run(storm), "calm": run(calm), "slack_messages": messages, "complaints": complaints})
}
