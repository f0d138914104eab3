//! What survives the process: restarts, SIGKILL at random moments, two processes in one folder.
//!
//! A process that is to be killed is this test binary, started again with its role in the environment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::Value;
use tokio::time::sleep;
use trading_telemetry::alerts::channels::{Channel, Failure, HttpSettings, Outcome, Slack};
use trading_telemetry::alerts::delivery::{Delivery, DeliverySettings, Pace};
use trading_telemetry::alerts::event::EventKind::{Escalated, Opened, Resolved};
use trading_telemetry::alerts::event::{AlertSeverity, Event};
use trading_telemetry::alerts::outbox::Outbox;
use trading_telemetry::clock::SystemClock;

mod support {
    pub mod alerts;
    pub mod fake;
    pub mod slack;
}
use support::alerts::{Critical, Scripted, Warning, direct, state};
use support::fake::{Act, Arrival};
use support::slack::FakeSlack;

const FOLDER: &str = "TEST_OUTBOX_FOLDER";
const URL: &str = "TEST_OUTBOX_URL";
const RUN: &str = "TEST_OUTBOX_RUN";
const PACE_MILLIS: &str = "TEST_OUTBOX_PACE_MILLIS";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trading-telemetry-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(folder: &Path, channel: Arc<dyn Channel>) -> Delivery {
    let (outbox, opened) = Outbox::open(&folder.join("risk.redb"));
    Delivery::start(DeliverySettings::default(), vec![channel], outbox, &opened, Arc::new(SystemClock::new()))
}

#[tokio::test]
async fn what_was_not_delivered_goes_out_after_a_restart_marked_as_delayed() {
    let folder = Folder::new("restart");
    let down = Scripted::new("slack");
    down.always(Outcome::TryAgain(Failure::new("could not connect")));
    let delivery = start(&folder.0, down.clone());
    delivery.submit(direct(Warning, "warning"));
    delivery.submit(direct(Critical, "urgent"));
    let mut odd = direct(Critical, "not a number");
    odd.metadata = vec![("value".into(), f64::NAN.into()), ("price".into(), (0.1 + 0.2).into())];
    delivery.submit(odd);
    delivery.submit(state("1", Opened, Warning, "10:01:02"));
    delivery.submit(state("1", Escalated, Critical, "10:01:05"));
    delivery.submit(state("1", Resolved, Critical, "10:01:40"));
    let drained = delivery.shutdown(Duration::from_millis(100)).await;
    assert_eq!(drained.unsent, [("slack", 4)]);
    assert!(drained.stored);

    let up = Scripted::new("slack");
    let delivery = start(&folder.0, up.clone());
    let drained = delivery.shutdown(Duration::from_secs(20)).await;
    assert_eq!(drained.unsent, []);
    assert_eq!(up.titles(), ["urgent", "not a number", "Drawdown", "warning"]);
    let texts: Vec<String> = up.accepted().iter().map(support::alerts::Sent::text).collect();
    assert!(texts.iter().all(|text| text.starts_with(r#"{"text": "[DELAYED "#)), "{texts:#?}");
    assert!(texts[1].contains("• Value: nan\\n• Price: 0.30000000000000004"), "{}", texts[1]);
    assert!(texts[2].contains("opened 10:01:02, critical 10:01:05, resolved 10:01:40, worst 8.4 %"));

    let again = Scripted::new("slack");
    let delivery = start(&folder.0, again.clone());
    delivery.shutdown(Duration::from_millis(100)).await;
    assert!(again.sent().is_empty(), "nothing acknowledged is repeated");
}

#[tokio::test]
async fn a_pause_that_the_service_asked_for_outlives_the_process() {
    let folder = Folder::new("pause");
    let strict = Scripted::new("slack");
    strict.always(Outcome::SlowDown(Some(Duration::from_secs(3))));
    let began = Instant::now();
    let delivery = start(&folder.0, strict.clone());
    delivery.submit(direct(Critical, "urgent"));
    while strict.sent().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    delivery.shutdown(Duration::from_millis(50)).await;

    let patient = Scripted::new("slack");
    let delivery = start(&folder.0, patient.clone());
    while patient.sent().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30));
        sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    drop(delivery);
}

/// The process that is killed: sends what it finds, raises a few incidents and direct alerts, and says what is on disk.
#[test]
fn the_killed_process() {
    let (Ok(folder), Ok(url), Ok(run)) = (std::env::var(FOLDER), std::env::var(URL), std::env::var(RUN))
    else {
        return;
    };
    let pace = std::env::var(PACE_MILLIS).map_or(1, |millis| millis.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Slack::new(SecretString::from(url), &HttpSettings::default())
            .unwrap()
            .with_pace(Pace::new(if pace == 1 { 1000 } else { 1 }, Duration::from_millis(pace)));
        let (outbox, opened) = Outbox::open(&Path::new(&folder).join("risk.redb"));
        let settings = DeliverySettings {
            queue: 100_000,
            // A disk that is slower than a quarter of a second may cost a duplicate; here it must not.
            critical_disk_patience: Duration::from_secs(10),
            ..DeliverySettings::default()
        };
        let clock = Arc::new(SystemClock::new());
        let delivery = Delivery::start(settings, vec![Arc::new(channel)], outbox.clone(), &opened, clock);
        if run == "last" {
            let drained = delivery.shutdown(Duration::from_mins(1)).await;
            println!("drained {}", drained.unsent.is_empty());
            return;
        }
        let mut committed = outbox.committed();
        for event in alerts_of(&run) {
            let name = name_of(&event);
            delivery.submit(event);
            let ticket = outbox.begin().ticket() - 1;
            committed.wait_for(|done| *done >= ticket).await.unwrap();
            println!("stored {name}");
            sleep(Duration::from_millis(4)).await;
        }
        std::future::pending::<()>().await;
    });
}

/// What one process raises. Titles are unique in all runs.
fn alerts_of(run: &str) -> Vec<Event> {
    let incident = |kind, severity: AlertSeverity| {
        let mut event = state(&format!("incident-{run}"), kind, severity, "10:01:02");
        event.title = format!("incident {run}");
        event
    };
    vec![
        direct(Critical, &format!("direct {run}")),
        incident(Opened, Critical),
        direct(Warning, &format!("warning {run}")),
        incident(Resolved, Critical),
    ]
}

fn name_of(event: &Event) -> String {
    if event.kind == Resolved { format!("RESOLVED: {}", event.title) } else { event.title.clone() }
}

/// The name of the message that arrived, without what depends on the time.
fn name_of_message(arrival: &Arrival) -> String {
    let payload: Value = serde_json::from_str(&arrival.body).unwrap();
    let text = payload["text"].as_str().unwrap();
    let text = text.strip_prefix("[DELAYED ").map_or(text, |rest| rest.split_once("] ").unwrap().1);
    match text.strip_prefix("✅ ") {
        Some(resolved) => resolved.to_owned(),
        None => text.split_once(": ").unwrap().1.to_owned(),
    }
}

fn spawn(folder: &Path, server: &FakeSlack, run: &str, pace_millis: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_killed_process", "--nocapture"])
        .env(FOLDER, folder)
        .env(URL, server.webhook_url())
        .env(RUN, run)
        .env(PACE_MILLIS, pace_millis.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// SIGKILL, then what the process had said.
fn kill(mut child: Child) -> Vec<String> {
    child.kill().unwrap();
    child.wait().unwrap();
    said(&mut child)
}

/// SIGKILL once everything that it raises is on disk.
fn kill_after_four(mut child: Child) -> Vec<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let stored = output.lines().map_while(Result::ok).filter_map(|line| {
        let (_, name) = line.split_once("stored ")?;
        Some(name.to_owned())
    });
    let stored: Vec<String> = stored.take(4).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stored.len(), 4, "{stored:?}");
    stored
}

fn said(child: &mut Child) -> Vec<String> {
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    // A test binary says on the same line that it begins a test.
    let stored = output.lines().filter_map(|line| line.split_once("stored "));
    stored.map(|(_, name)| name.to_owned()).collect()
}

fn drain(folder: &Path, server: &FakeSlack) {
    let mut child = spawn(folder, server, "last", 1);
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.wait().unwrap();
    assert!(output.contains("drained true"), "{output}");
}

/// Every stored alert has arrived in its last state.
fn assert_all_arrived(stored: &HashSet<String>, accepted: &[Arrival]) {
    let arrived: HashSet<String> = accepted.iter().map(name_of_message).collect();
    for name in stored {
        let resolved = format!("RESOLVED: {name}");
        assert!(arrived.contains(name) || arrived.contains(&resolved), "{name} is lost");
    }
}

#[tokio::test]
async fn two_hundred_kills_lose_nothing_and_repeat_only_the_message_in_flight() {
    const KILLS: usize = 200;
    let folder = Folder::new("kill");
    let server = FakeSlack::start();
    // Long enough that many of them die while they wait for an answer.
    server.fake.always(Act::Hold(Duration::from_millis(8)));
    let mut stored = HashSet::new();
    // Where the messages of each process end.
    let mut ends = Vec::new();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    for run in 0..KILLS {
        let child = spawn(&folder.0, &server, &format!("r{run}"), 1);
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        sleep(Duration::from_millis(20 + seed % 240)).await;
        stored.extend(kill(child));
        // What the dead process had sent may still be on its way to the server.
        sleep(Duration::from_millis(20)).await;
        ends.push(server.fake.accepted().len());
    }
    drain(&folder.0, &server);
    let accepted = server.fake.accepted();
    assert!(stored.len() > KILLS, "only {} alerts were raised", stored.len());
    assert_all_arrived(&stored, &accepted);
    assert_eq!(server.problems(), Vec::<String>::new());

    let mut first_seen = HashMap::new();
    let mut repeated = 0;
    for (place, arrival) in accepted.iter().enumerate() {
        if let Some(first) = first_seen.insert(name_of_message(arrival), place) {
            assert!(
                ends.contains(&(first + 1)),
                "{} was repeated but was not in flight",
                name_of_message(arrival)
            );
            repeated += 1;
        }
    }
    assert!((1..=KILLS).contains(&repeated), "{repeated} repetitions in {KILLS} kills");
    println!("{} alerts stored, {} messages, {repeated} repeated", stored.len(), accepted.len());
}

#[tokio::test]
async fn two_processes_in_one_folder_lose_nothing_when_both_are_killed() {
    let folder = Folder::new("two");
    let server = FakeSlack::start();
    server.fake.always(Act::status(503, ""));
    let children = ["a", "b"].map(|run| spawn(&folder.0, &server, run, 1));
    let stored: HashSet<String> = children.into_iter().flat_map(kill_after_four).collect();
    assert_eq!(stored.len(), 8, "{stored:?}");
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 2);
    server.fake.always(Act::Honest);
    drain(&folder.0, &server);
    assert_all_arrived(&stored, &server.fake.accepted());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "the dead process's file is gone");
}

#[tokio::test]
async fn at_the_real_pace_a_ban_holds_across_the_kill() {
    let folder = Folder::new("ban");
    let server = FakeSlack::start();
    server.fake.script([Act::slow_down(4)]);
    let child = spawn(&folder.0, &server, "before", 1000);
    let banned = server.fake.wait_for(1).await[0].at;
    kill_after_four(child);
    let child = spawn(&folder.0, &server, "after", 1000);
    let arrivals = server.fake.wait_for(4).await;
    kill(child);
    assert!(arrivals[1].at - banned >= Duration::from_secs(4), "{:?}", arrivals[1].at - banned);
    for pair in arrivals[1..].windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(950), "the pace holds");
    }
}
