//! What a SIGKILL can do to the log: nothing to a line that was written.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]
#![expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the log writes its names in lower case"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use serde_json::Value as Json;
use tracing_subscriber::prelude::*;
use trading_telemetry::clock::SystemClock;
use trading_telemetry::logs::{LogConfig, LogFormat, Logs};

const KILLS: u64 = 1_000;
const LANES: u64 = 2;
/// Threads of the child that write.
const WRITERS: usize = 2;
/// The life of a child is at most so many microseconds: every other one's from its birth, so that some die while they
/// still tidy up after the one before; the rest's from its first flush, however slow the machine.
const LIFE: u64 = 50_000;
const DIR: &str = "LOGS_TEST_KILL_DIR";
const RUN: &str = "LOGS_TEST_KILL_RUN";

fn start(dir: &Path) -> Logs {
    let mut config = LogConfig::new("victim");
    config.file.path = dir.join("victim.log");
    config.file.rotate_bytes = 8_000;
    config.file.keep = usize::MAX;
    config.format = LogFormat::Json;
    Logs::start(config, Arc::new(SystemClock::new()), |_| ()).unwrap()
}

/// The test runs itself as the process that is killed.
#[test]
fn a_thousand_sigkills_lose_no_written_line_and_leave_no_litter() {
    if let Some(dir) = std::env::var_os(DIR) {
        be_the_victim(Path::new(&dir), std::env::var(RUN).unwrap().parse().unwrap());
    }
    let seed: u64 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    eprintln!("seed {seed}");
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || kill_many(seed + lane));
        }
    });
}

/// Writes for ever, and tells on standard output how many lines of each thread have been flushed.
fn be_the_victim(dir: &Path, run: u64) -> ! {
    let logs = start(dir);
    tracing_subscriber::registry().with(logs.layer()).init();
    let logged = [const { AtomicU64::new(0) }; WRITERS];
    thread::scope(|scope| {
        for (writer, logged) in logged.iter().enumerate() {
            scope.spawn(move || {
                loop {
                    let number = logged.load(SeqCst);
                    tracing::info!(run, writer, number, filler = "some text, as lines have it", "line");
                    logged.store(number + 1, SeqCst);
                    thread::sleep(Duration::from_micros(300));
                }
            });
        }
        loop {
            let counts = [0, 1].map(|writer: usize| logged[writer].load(SeqCst));
            logs.flush(Duration::from_mins(1)).unwrap();
            std::io::stdout()
                .write_all(format!("\nflushed {} {}\n", counts[0], counts[1]).as_bytes())
                .unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    })
}

fn kill_many(mut seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut flushed = Vec::new();
    let mut half_compressed = 0;
    for run in 0..KILLS / LANES {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_thousand_sigkills_lose_no_written_line_and_leave_no_litter", "--nocapture"])
            .env(DIR, dir.path())
            .env(RUN, run.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while run % 2 == 1 && !said.contains("flushed ") {
            assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "ended by itself: {said}");
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_micros((seed >> 33) % LIFE));
        child.kill().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "killed, not ended: {said}");
        let last = said.rsplit_once('\n').and_then(|(whole, _)| whole.rsplit_once("flushed "));
        flushed.push(last.map_or([0; WRITERS], |(_, counts)| {
            let (first, second) = counts.split_once(' ').unwrap();
            [first, second].map(|count| count.parse::<u64>().unwrap())
        }));
        half_compressed += usize::from(names(dir.path()).iter().any(|name| name.ends_with(".tmp")));
    }

    let logs = start(dir.path());
    let begin = Instant::now();
    let litter = || {
        let mut names = names(dir.path());
        names.retain(|name| !(name.ends_with(".gz") || name == "victim.log" || name == ".victim.log.lock"));
        names
    };
    while !litter().is_empty() {
        assert!(begin.elapsed() < Duration::from_mins(5), "litter: {:?}", litter());
        thread::sleep(Duration::from_millis(50));
    }
    logs.shutdown(Duration::from_mins(1)).unwrap();

    let mut counts = HashMap::<[u64; 3], u32>::new();
    let mut files = 0;
    for name in names(dir.path()).iter().filter(|name| !name.ends_with(".lock")) {
        files += 1;
        let text = content(&dir.path().join(name));
        assert!(text.is_empty() || text.ends_with('\n'), "{name} ends within a line");
        for line in text.lines() {
            let line: Json =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
            if line["event"] == "line" {
                let key = ["run", "writer", "number"].map(|key| line[key].as_u64().unwrap());
                *counts.entry(key).or_default() += 1;
            }
        }
    }
    assert!(counts.values().all(|count| *count == 1), "a line is there twice");
    let mut promised = 0;
    for (run, writers) in (0..).zip(&flushed) {
        for (writer, count) in (0..).zip(writers) {
            promised += count;
            for number in 0..*count {
                assert!(
                    counts.contains_key(&[run, writer, number]),
                    "lost: run {run}, writer {writer}, line {number}"
                );
            }
        }
    }
    let lived = flushed.iter().filter(|counts| counts[0] > 0).count();
    eprintln!(
        "{lived} wrote, {promised} lines flushed, {files} files, {half_compressed} times half compressed"
    );
    assert!(
        lived as u64 >= KILLS / LANES / 2 && half_compressed > 10,
        "the kills have hit too little: {lived}, {half_compressed}"
    );
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn content(path: &Path) -> String {
    let file = fs::File::open(path).unwrap();
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        { file }.read_to_string(&mut text).unwrap();
    }
    text
}
