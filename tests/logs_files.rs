//! The files of the log: rotation, leftovers, two processes, and disks that refuse.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the log writes its names in lower case"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use serde_json::Value as Json;
use tracing::subscriber::with_default;
use tracing::{info, warn};
use tracing_subscriber::prelude::*;
use trading_telemetry::clock::SystemClock;
use trading_telemetry::logs::{
    AUDIT_TARGET, DropReason, FileConfig, LogConfig, LogFormat, LogNotice, Logs, NoticeKind, WhenFull,
};

const LONG: Duration = Duration::from_mins(1);

type Heard = Arc<Mutex<Vec<NoticeKind>>>;

fn config(dir: &Path) -> LogConfig {
    let mut config = LogConfig::new("backend");
    config.file = FileConfig { path: dir.join("backend.log"), rotate_bytes: 2_000, keep: 1_000 };
    config.format = LogFormat::Json;
    config
}

fn start(config: LogConfig) -> (Logs, Heard) {
    let heard = Heard::default();
    let ear = heard.clone();
    let listener = move |notice: &LogNotice| ear.lock().unwrap().push(notice.kind);
    (Logs::start(config, Arc::new(SystemClock::new()), listener).unwrap(), heard)
}

fn write(logs: &Logs, numbers: std::ops::Range<u32>) {
    with_default(tracing_subscriber::registry().with(logs.layer()), || {
        for number in numbers {
            info!(number, "line");
        }
    });
}

/// Waits for what another thread does.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn content(path: &Path) -> String {
    let mut text = String::new();
    let file = fs::File::open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        { file }.read_to_string(&mut text).unwrap();
    }
    assert!(text.is_empty() || text.ends_with('\n'), "{} ends within a line", path.display());
    text
}

/// All lines under `dir`; each file must be whole JSON lines.
fn lines(dir: &Path) -> Vec<Json> {
    let files = names(dir).into_iter().filter(|name| !name.ends_with(".lock"));
    files
        .flat_map(|name| {
            let text = content(&dir.join(name));
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Json>>()
        })
        .collect()
}

/// How often each number was written.
fn numbers(dir: &Path) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for number in lines(dir).iter().filter_map(|line| line["number"].as_u64()) {
        *counts.entry(number).or_default() += 1;
    }
    counts
}

fn each_once(numbers: std::ops::Range<u64>) -> BTreeMap<u64, usize> {
    numbers.map(|number| (number, 1)).collect()
}

fn events(dir: &Path, event: &str) -> usize {
    lines(dir).iter().filter(|line| line["event"] == event).count()
}

#[test]
fn full_files_are_set_aside_compressed_and_the_oldest_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.file.keep = 3;
    let (logs, _) = start(config);
    write(&logs, 0..500);
    logs.flush(LONG).unwrap();
    assert!(logs.stats().rotations() > 10);
    let packed = |names: &[String]| names.iter().filter(|name| name.ends_with(".gz")).count();
    eventually("three packed files and the live one", || {
        let names = names(dir.path());
        names.len() == 5 && packed(&names) == 3
    });
    let sizes = names(dir.path()).into_iter().map(|name| content_size(&dir.path().join(name)));
    assert!(sizes.max().unwrap() <= 2_000);
    let left = numbers(dir.path());
    assert_eq!(left, each_once(*left.first_key_value().unwrap().0..500));
}

fn content_size(path: &Path) -> usize {
    if path.extension().is_some_and(|extension| extension == "lock") { 0 } else { content(path).len() }
}

#[test]
fn a_line_larger_than_a_file_has_a_file_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (logs, _) = start(config(dir.path()));
    write(&logs, 0..3);
    with_default(tracing_subscriber::registry().with(logs.layer()), || {
        info!(number = 3, text = "x".repeat(10_000), "line");
    });
    write(&logs, 4..7);
    logs.shutdown(LONG).unwrap();
    assert_eq!(logs.stats().rotations(), 2);
    assert_eq!(numbers(dir.path()), each_once(0..7));
}

#[test]
fn the_next_start_finishes_whatever_a_dead_process_was_doing() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let line = |number: u32| format!("{{\"event\": \"line\", \"number\": {number}}}\n");
    let gz = |name: &str, text: &str| {
        let mut packed =
            flate2::write::GzEncoder::new(fs::File::create(file(name)).unwrap(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap();
    };
    // Set aside, not compressed; half compressed; compressed, source not deleted; a half line in the live file.
    fs::write(file("backend.log.000001"), line(0)).unwrap();
    fs::write(file("backend.log.000002"), line(1)).unwrap();
    fs::write(file("backend.log.000002.gz.tmp"), "half").unwrap();
    fs::write(file("backend.log.000003"), line(2)).unwrap();
    gz("backend.log.000003.gz", &line(2));
    fs::write(file("backend.log.000004.gz.tmp"), "").unwrap();
    fs::write(file("backend.log"), line(3) + "{\"event\": \"li\u{e9}").unwrap();
    // The same of a process that had found the file taken.
    fs::write(file("backend.pid99999999.log"), line(4) + "{\"ev").unwrap();
    fs::write(file("backend.pid99999999.log.000001"), line(5)).unwrap();
    fs::write(file("backend.pid99999999.log.000001.gz.tmp"), "half").unwrap();
    fs::write(file("backend.pid99999999.log.000002"), line(6)).unwrap();
    gz("backend.pid99999999.log.000002.gz", &line(6));
    fs::write(file(".backend.pid99999999.log.lock"), "").unwrap();
    fs::write(file("backend.pid99999998.log"), "").unwrap();

    let (logs, _) = start(config(dir.path()));
    write(&logs, 7..8);
    logs.flush(LONG).unwrap();
    let expected: Vec<String> = [".backend.log.lock", "backend.log"]
        .into_iter()
        .map(str::to_owned)
        .chain([1, 2, 3, 5, 6, 7].map(|number| format!("backend.log.{number:06}.gz")))
        .collect();
    eventually("a tidy directory", || names(dir.path()) == expected);
    assert_eq!(numbers(dir.path()), each_once(0..8));
    assert_eq!(logs.stats().torn_lines(), 2);
    let torn: Vec<_> =
        lines(dir.path()).into_iter().filter(|line| line["event"] == "log_line_torn").collect();
    let mut texts: Vec<_> = torn.iter().map(|line| line["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["{\"ev", "{\"event\": \"li\u{e9}"]);
}

#[test]
fn a_file_removed_or_moved_from_outside_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let logs_dir = dir.path().join("logs");
    let live = logs_dir.join("backend.log");
    let (logs, _) = start(config(&logs_dir));
    write(&logs, 0..1);
    logs.flush(LONG).unwrap();

    fs::rename(&live, logs_dir.join("moved.log")).unwrap();
    write(&logs, 1..2);
    logs.flush(LONG).unwrap();
    assert_eq!(content(&live).lines().count(), 1);

    fs::remove_file(&live).unwrap();
    write(&logs, 2..3);
    logs.flush(LONG).unwrap();
    assert_eq!(numbers(&logs_dir), BTreeMap::from([(0, 1), (2, 1)]));

    fs::OpenOptions::new().write(true).open(&live).unwrap().set_len(0).unwrap();
    write(&logs, 3..4);
    logs.flush(LONG).unwrap();
    assert_eq!(content(&live).lines().count(), 1);

    fs::remove_dir_all(&logs_dir).unwrap();
    write(&logs, 4..5);
    logs.flush(LONG).unwrap();
    assert_eq!(numbers(&logs_dir), each_once(4..5));
    // With the directory the lock went; it must be held again.
    let (second, heard) = start(config(&logs_dir));
    assert_ne!(second.stats().path(), live);
    assert_eq!(*heard.lock().unwrap(), [NoticeKind::FileInUse]);
}

#[test]
fn a_second_log_of_the_name_has_its_own_file_and_the_next_start_takes_it_over() {
    let dir = tempfile::tempdir().unwrap();
    let (first, heard_first) = start(config(dir.path()));
    let (second, heard_second) = start(config(dir.path()));
    let (third, _) = start(config(dir.path()));
    let own = dir.path().join(format!("backend.pid{}.log", std::process::id()));
    assert_eq!(second.stats().path(), own);
    assert!(third.stats().path() != own && third.stats().path() != first.stats().path());
    assert!(heard_first.lock().unwrap().is_empty());
    assert_eq!(*heard_second.lock().unwrap(), [NoticeKind::FileInUse]);
    write(&first, 0..100);
    write(&second, 100..200);
    write(&third, 200..300);
    for logs in [first, second, third] {
        logs.shutdown(LONG).unwrap();
    }
    assert_eq!(events(dir.path(), "log_file_in_use"), 2);

    let (next, _) = start(config(dir.path()));
    eventually("one row of files", || {
        names(dir.path()).iter().all(|name| {
            let main = name.starts_with("backend.log") || name == ".backend.log.lock";
            main && (name.ends_with(".gz") || name.ends_with(".log") || name.ends_with(".lock"))
        })
    });
    assert_eq!(numbers(dir.path()), each_once(0..300));
    drop(next);
}

#[test]
fn audit_lines_may_have_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.audit_file = Some(FileConfig::new(dir.path().join("audit.log")));
    let (logs, _) = start(config);
    with_default(tracing_subscriber::registry().with(logs.layer()), || {
        info!(number = 1, "line");
        info!(target: AUDIT_TARGET, number = 2, "order_submitted");
    });
    logs.flush(LONG).unwrap();
    let main = content(&dir.path().join("backend.log"));
    let audit = content(&dir.path().join("audit.log"));
    assert!(main.contains("\"number\": 1,") && main.lines().count() == 1, "{main}");
    assert!(audit.contains("\"number\": 2,") && audit.lines().count() == 1, "{audit}");
    assert_eq!((logs.stats().written(), logs.audit_stats().unwrap().written()), (1, 1));
}

#[test]
fn a_directory_that_cannot_be_used_is_told_once_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("logs");
    fs::write(&in_the_way, "a file where the directory should be").unwrap();
    let (logs, heard) = start(config(&in_the_way));
    assert!(logs.stats().trouble().is_some());
    write(&logs, 0..10);
    assert_eq!(logs.flush(Duration::from_millis(700)).unwrap_err().lines(), 10);
    assert_eq!(*heard.lock().unwrap(), [NoticeKind::WriteFailed]);

    fs::remove_file(&in_the_way).unwrap();
    logs.flush(LONG).unwrap();
    assert_eq!(*heard.lock().unwrap(), [NoticeKind::WriteFailed, NoticeKind::Recovered]);
    assert_eq!(logs.stats().trouble(), None);
    logs.shutdown(LONG).unwrap();
    assert_eq!(numbers(&in_the_way), each_once(0..10));
    assert_eq!(events(&in_the_way, "log_writing_recovered"), 1);
}

#[test]
fn what_a_full_queue_drops_is_counted_and_told_once_the_pressure_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let logs_dir = dir.path().join("logs");
    let mut config = config(&logs_dir);
    // One file, since it is read while it is written.
    config.file.rotate_bytes = 1_000_000;
    config.queue.lines = 16;
    config.queue.when_full = WhenFull::Drop;
    // The writer stands still while it tells that the disk refuses.
    let (told, tells) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let goes_on = Mutex::new(goes_on);
    let logs = Logs::start(config, Arc::new(SystemClock::new()), move |notice| {
        if notice.kind == NoticeKind::WriteFailed {
            told.send(()).unwrap();
            goes_on.lock().unwrap().recv().unwrap();
        }
    });
    let logs = logs.unwrap();
    fs::rename(&logs_dir, dir.path().join("away")).unwrap();
    fs::write(&logs_dir, "in the way").unwrap();
    write(&logs, 0..1);
    tells.recv().unwrap();

    write(&logs, 1..101);
    with_default(tracing_subscriber::registry().with(logs.layer()), || {
        (0..3).for_each(|_| warn!("order_rejected"));
        (0..3).for_each(|_| info!(target: AUDIT_TARGET, "order_submitted"));
    });
    assert_eq!((logs.stats().dropped(DropReason::QueueFull), logs.stats().audit_lost()), (89, 1));

    fs::remove_file(&logs_dir).unwrap();
    go_on.send(()).unwrap();
    eventually("a line about the losses", || logs_dir.exists() && events(&logs_dir, "log_lines_lost") == 1);
    logs.shutdown(LONG).unwrap();
    assert_eq!(numbers(&logs_dir), each_once(0..13));
    assert_eq!((events(&logs_dir, "order_rejected"), events(&logs_dir, "order_submitted")), (2, 2));
    let lines = lines(&logs_dir);
    let told = lines.iter().find(|line| line["event"] == "log_lines_lost").unwrap();
    assert_eq!(
        (&told["queue_full"], &told["audit"], &told["level"]),
        (&89.into(), &1.into(), &"error".into())
    );
}

#[test]
fn what_is_given_up_at_shutdown_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("logs");
    fs::write(&in_the_way, "").unwrap();
    let (logs, _) = start(config(&in_the_way));
    write(&logs, 0..10);
    with_default(
        tracing_subscriber::registry().with(logs.layer()),
        || warn!(target: AUDIT_TARGET, "order_rejected"),
    );
    let start = Instant::now();
    let lost = logs.shutdown(LONG).unwrap_err();
    assert!(start.elapsed() < LONG / 2, "a file in the directory's place stays there: nothing is waited for");
    assert_eq!(lost.lines(), 11);
    write(&logs, 10..12);
    assert_eq!((logs.stats().dropped(DropReason::WriteFailed), logs.stats().audit_lost()), (12, 1));
}

/// Runs in a mount namespace of its own, where anybody may mount a small tmpfs, so the test runs itself again in one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_tears_no_line_and_nothing_accepted_is_lost_when_space_returns() {
    const DIR: &str = "LOGS_TEST_FULL_DISK";
    if let Some(dir) = std::env::var_os(DIR) {
        return fill_the_disk(&PathBuf::from(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=1m none "$1" || exit 77; shift; exec "$@""#;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_full_disk_tears_no_line_and_nothing_accepted_is_lost_when_space_returns"])
        .env(DIR, dir.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        // Where that is forbidden, the simulated disk of the unit tests is what remains.
        Ok(output) if output.status.code() == Some(77) => eprintln!("left out: no tmpfs can be mounted here"),
        Ok(output) if String::from_utf8_lossy(&output.stderr).starts_with("unshare:") => {
            eprintln!("left out: no mount namespace can be made here");
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("left out: unshare cannot be run: {error}"),
    }
}

#[cfg(target_os = "linux")]
fn fill_the_disk(dir: &Path) {
    const LINES: u32 = 1_200;
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![b'x'; 800_000]).unwrap();
    let logs_dir = dir.join("logs");
    let mut config = config(&logs_dir);
    config.file.rotate_bytes = 50_000;
    let (logs, heard) = start(config);
    // Text that hardly can be compressed: some 500 kB of lines, 300 kB of them packed.
    let mut seed = 1_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:016x}", seed ^ (seed >> 29))
    };
    with_default(tracing_subscriber::registry().with(logs.layer()), || {
        for number in 0..LINES {
            let text: String = (0..18).map(|_| noise()).collect();
            info!(number, text, "line");
        }
    });
    eventually("a full disk", || logs.stats().trouble().is_some());
    assert!(logs.flush(Duration::from_secs(2)).is_err());
    let there = numbers_while_running(&logs_dir);
    assert_eq!(there, each_once(0..there.len() as u64));

    fs::remove_file(&ballast).unwrap();
    logs.flush(LONG).unwrap();
    eventually("packed files", || names(&logs_dir).iter().all(|name| !name.ends_with(char::is_numeric)));
    logs.shutdown(LONG).unwrap();
    assert_eq!(numbers(&logs_dir), each_once(0..u64::from(LINES)));
    // Compressing may free a little space for a moment, so that the disk can be full more than once.
    assert!(events(&logs_dir, "log_writing_recovered") >= 1);
    let heard = heard.lock().unwrap();
    assert!(heard.contains(&NoticeKind::WriteFailed) && heard.contains(&NoticeKind::Recovered), "{heard:?}");
    assert_eq!((logs.stats().torn_lines(), logs.stats().trouble()), (0, None));
}

/// As [`numbers`], at a moment at which no file got another name.
#[cfg(target_os = "linux")]
fn numbers_while_running(dir: &Path) -> BTreeMap<u64, usize> {
    for _ in 0..1_000 {
        let before = names(dir);
        if before.iter().any(|name| name.ends_with(".tmp")) {
            continue;
        }
        if let Ok(counts) = std::panic::catch_unwind(|| numbers(dir))
            && before == names(dir)
        {
            return counts;
        }
    }
    panic!("the directory never stands still");
}
