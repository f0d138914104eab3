//! The channel `alertmanager` against a server that takes notes, and against real Alertmanagers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::format_push_string,
    reason = "a test fails by it"
)]

#[path = "support/alertmanager.rs"]
mod alertmanager;
#[path = "support/alerts.rs"]
mod alerts;
#[path = "support/fake.rs"]
mod fake;
#[path = "support/process.rs"]
mod process;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use alertmanager::{ALERTMANAGER, PEER_TIMEOUT, Program, halted, program};
use alerts::{Critical, Warning, direct, state};
use fake::{Act, Arrival, Fake, Reply};
use jiff::Timestamp;
use process::{eventually, free_port, service};
use secrecy::SecretString;
use serde_json::{Value, json};
use trading_telemetry::alerts::channels::{Alertmanager, Channel, HttpSettings, Outcome};
use trading_telemetry::alerts::event::{Event, EventKind};
use trading_telemetry::alerts::export::{self, Secrets};
use trading_telemetry::alerts::message::{Notice, Origin, Story};
use trading_telemetry::alerts::rule::RuleSet;
use trading_telemetry::clock::{Clock, ManualClock, SystemClock};
use trading_telemetry::settings::{AlertSettings, Settings, Sources};

/// What takes note and says yes with an empty body, as Alertmanager does and as a webhook may.
struct Notes;

impl fake::Service for Notes {
    fn answer(&mut self, _: &Arrival) -> (Reply, bool) {
        (Reply::new(200, ""), true)
    }
}

fn origin(instance: &str) -> Arc<Origin> {
    Arc::new(Origin { service: "risk".into(), instance: instance.into() })
}

fn notice(event: Event, instance: &str) -> Notice {
    Notice::new(event, origin(instance))
}

fn channel(urls: &[&str], resend: Duration, clock: Arc<dyn Clock>) -> Arc<Alertmanager> {
    Arc::new(Alertmanager::new(urls.iter().copied(), None, resend, &HttpSettings::default(), clock).unwrap())
}

fn posts(fake: &Fake) -> Vec<Vec<Value>> {
    fake.arrivals().iter().map(|arrival| serde_json::from_str(&arrival.body).unwrap()).collect()
}

const SELDOM: Duration = Duration::from_hours(1);

#[tokio::test]
async fn replicas_post_the_same_alert_and_what_they_know_beside_it() {
    let fake = Fake::start(Notes);
    for instance in ["a", "b"] {
        let channel = channel(&[&format!("{}/", fake.base_url())], SELDOM, Arc::new(SystemClock::new()));
        let mut event = state(&format!("incident-of-{instance}"), EventKind::Opened, Critical, "10:01:02");
        event.labels = vec![("queue.name".into(), "fills".into()), ("severity".into(), "odd".into())];
        assert_eq!(channel.send(&notice(event, instance)).await, Outcome::Accepted);
    }
    let posts = posts(&fake);
    let labels = json!({
        "alertname": "drawdown", "severity": "critical", "service": "risk", "origin": "engine",
        "queue_name": "fills", "exported_severity": "odd",
    });
    assert_eq!(posts.iter().map(|post| &post[0]["labels"]).collect::<Vec<_>>(), [&labels, &labels]);
    assert_eq!(posts[0][0]["startsAt"], "2024-03-15T10:01:02Z");
    assert_eq!(posts[0][0]["endsAt"], Value::Null, "Alertmanager's clock ends what nobody posts again");
    assert!(posts[0][0]["annotations"]["details"].as_str().unwrap().contains("Incident: incident-of-a"));
    assert!(fake.arrivals().iter().all(|arrival| arrival.path == "/api/v2/alerts"));
}

#[tokio::test]
async fn an_incident_that_gets_worse_is_another_alert_and_one_that_gets_better_is_not() {
    let fake = Fake::start(Notes);
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let channel = channel(&[&fake.base_url()], SELDOM, Arc::clone(&clock) as _);
    let mut event = state("i", EventKind::Opened, Warning, "10:01:02");
    assert_eq!(channel.send(&notice(event.clone(), "a")).await, Outcome::Accepted);
    (event.kind, event.severity, event.worst_severity) = (EventKind::Escalated, Critical, Critical);
    event.duration = Duration::from_secs(30);
    assert_eq!(channel.send(&notice(event.clone(), "a")).await, Outcome::Accepted);
    (event.kind, event.severity) = (EventKind::DeEscalated, Warning);
    assert_eq!(channel.send(&notice(event.clone(), "a")).await, Outcome::Accepted);
    clock.advance(Duration::from_mins(1));
    (event.kind, event.duration) = (EventKind::Resolved, Duration::from_secs(90));
    assert_eq!(channel.send(&notice(event, "a")).await, Outcome::Accepted);
    let shown: Vec<Vec<_>> = posts(&fake)
        .iter()
        .map(|post| {
            let alert = |alert: &Value| {
                format!(
                    "{} {}",
                    alert["labels"]["severity"].as_str().unwrap(),
                    alert["endsAt"].as_str().unwrap_or("lasts")
                )
            };
            post.iter().map(alert).collect()
        })
        .collect();
    assert_eq!(
        shown,
        [
            vec!["warning lasts"],
            vec!["critical lasts", "warning 2024-03-15T10:01:32Z"],
            vec!["critical lasts"],
            vec!["critical 2024-03-15T10:02:32Z"]
        ]
    );
}

#[tokio::test]
async fn what_ended_before_anybody_was_told_is_told_all_the_same() {
    let fake = Fake::start(Notes);
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let channel = channel(&[&fake.base_url()], SELDOM, Arc::clone(&clock) as _);
    Arc::clone(&channel).resume(Vec::new(), &origin("a"));
    let opened = state("i", EventKind::Opened, Critical, "10:01:02");
    let ended = Event { kind: EventKind::Resolved, duration: Duration::from_secs(3), ..opened.clone() };
    let mut whole = notice(ended.clone(), "a");
    whole.story = Story::of(&opened);
    whole.story.extend(Story::of(&ended));
    assert_eq!(channel.send(&whole).await, Outcome::Accepted);
    assert_eq!(posts(&fake)[0][0]["endsAt"], Value::Null, "within group_wait it would never be told");
    clock.advance(Duration::from_secs(20));
    let arrivals = fake.wait_for(2).await;
    let last: Value = serde_json::from_str(&arrivals[1].body).unwrap();
    assert_eq!(last[0]["endsAt"], "2024-03-15T10:01:05Z");
}

#[tokio::test]
async fn the_end_of_one_incident_does_not_end_the_next() {
    let fake = Fake::start(Notes);
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let channel = channel(&[&fake.base_url()], Duration::from_millis(50), Arc::clone(&clock) as _);
    for (incident, kind) in [("1", EventKind::Opened), ("1", EventKind::Resolved), ("2", EventKind::Opened)] {
        let event = state(incident, kind, Critical, "10:01:02");
        assert_eq!(channel.send(&notice(event, "a")).await, Outcome::Accepted);
    }
    Arc::clone(&channel).resume(Vec::new(), &origin("a"));
    for posts in 3..6 {
        clock.advance(Duration::from_mins(1));
        fake.wait_for(posts).await;
    }
    assert!(posts(&fake).iter().flatten().all(|alert| alert["endsAt"].is_null()), "{:?}", posts(&fake));
}

#[tokio::test]
async fn what_is_open_is_posted_again_also_after_a_restart_until_it_ends() {
    let fake = Fake::start(Notes);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let channel = channel(&[&fake.base_url()], Duration::from_millis(50), clock);
    let open = state("i", EventKind::Reminded, Warning, "10:01:02");
    let muted = Event { silenced: true, ..state("j", EventKind::Reminded, Critical, "10:01:02") };
    Arc::clone(&channel).resume(vec![open, muted], &origin("a"));
    fake.wait_for(4).await;
    assert!(posts(&fake).iter().all(|post| post.len() == 1 && post[0]["labels"]["severity"] == "warning"));
    // It has an end of its own, so nothing has to be posted again.
    assert_eq!(channel.send(&notice(direct(Critical, "Model retrained"), "a")).await, Outcome::Accepted);
    let is_message = |post: &&Vec<Value>| post[0]["labels"]["kind"] == "message";
    fake.wait_for(fake.arrivals().len() + 2).await;
    assert_eq!(posts(&fake).iter().filter(is_message).count(), 1);
    drop(channel);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = fake.arrivals().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(fake.arrivals().len(), before, "a channel that is gone posts nothing");
}

#[tokio::test]
async fn one_alertmanager_that_has_it_is_enough_and_none_is_a_failure() {
    let (good, bad) = (Fake::start(Notes), Fake::start(Notes));
    let (good_url, bad_url) = (good.base_url(), bad.base_url());
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let channel = channel(&[&nowhere, &bad_url, &good_url], SELDOM, Arc::new(SystemClock::new()));
    bad.always(Act::status(500, ""));
    let event = state("i", EventKind::Opened, Critical, "10:01:02");
    assert_eq!(channel.send(&notice(event.clone(), "a")).await, Outcome::Accepted);
    good.always(Act::status(503, ""));
    let outcome = channel.send(&notice(event.clone(), "a")).await;
    assert!(matches!(outcome, Outcome::TryAgain(_)), "{outcome:?}");
    good.always(Act::status(400, "start time must be before end time"));
    bad.always(Act::status(400, ""));
    let outcome = channel.send(&notice(event.clone(), "a")).await;
    assert!(matches!(outcome, Outcome::TryAgain(_)), "one could not be asked: {outcome:?}");
    let plain = Notice { plain: true, ..notice(event, "a") };
    good.always(Act::Honest);
    assert_eq!(channel.send(&plain).await, Outcome::Accepted);
    assert_eq!(
        posts(&good).last().unwrap()[0]["startsAt"],
        Value::Null,
        "a time that was refused is left out"
    );
}

#[tokio::test]
async fn the_token_goes_with_each_request_and_is_shown_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 16 * 1024];
        let length = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let token = SecretString::from("s3cret-token");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let http = HttpSettings::default();
    let channel = Alertmanager::new([url.as_str()], Some(&token), SELDOM, &http, clock).unwrap();
    assert!(!format!("{channel:?}").contains("s3cret"));
    assert_eq!(channel.send(&notice(direct(Warning, "x"), "a")).await, Outcome::Accepted);
    assert!(server.join().unwrap().contains("authorization: Bearer s3cret-token\r\n"));
}

/// The exported routes, with a webhook in place of each receiver's people.
fn exported(settings: &AlertSettings, webhook: &str) -> String {
    let config = export::alertmanager(&RuleSet::built_in(), settings, Secrets::Files);
    let (routes, receivers) = config.split_once("\nreceivers:\n").unwrap();
    let mut out = format!("{routes}\nreceivers:\n");
    for name in receivers.lines().filter_map(|line| line.strip_prefix("  - name: ")) {
        out += &format!("  - name: {name}\n");
        if name != "nobody" {
            let resolved = !name.ends_with("-message");
            out +=
                &format!("    webhook_configs: [{{url: \"{webhook}/{name}\", send_resolved: {resolved}}}]\n");
        }
    }
    out
}

fn settings(channels: &str, resend_seconds: &str) -> AlertSettings {
    let sources = Sources::empty()
        .folder(std::env::temp_dir())
        .variable("SA_ALERTS__CHANNELS", channels)
        .variable("SA_ALERTS__ALERTMANAGER__URLS", "http://127.0.0.1:9093")
        .variable("SA_ALERTS__ALERTMANAGER__RESEND_INTERVAL_SECONDS", resend_seconds);
    Settings::load(&sources).unwrap().settings.alerts
}

/// What people were told: the receiver, firing or resolved, and of how many alerts.
fn told(webhook: &Fake) -> Vec<String> {
    let arrivals = webhook.arrivals();
    let told = arrivals.iter().map(|arrival| {
        let body: Value = serde_json::from_str(&arrival.body).unwrap();
        let number = body["alerts"].as_array().unwrap().len();
        format!("{} {} {number}", arrival.path, body["status"].as_str().unwrap())
    });
    told.collect()
}

#[test]
fn two_instances_and_a_cluster_of_two_tell_people_once() {
    let instances = service(|| {
        halted();
    });
    let Some(program) = program(ALERTMANAGER) else { return };
    let webhook = Fake::start(Notes);
    let folder = tempfile::tempdir().unwrap();
    // A round of the group has to outlast the wait of the cluster's second by far: were they as long as each other, the
    // first's next round could begin while the second ends the one before, and both would tell people.
    let resend = PEER_TIMEOUT.as_secs() * 4 / 3;
    let round = Duration::from_secs(resend * 3 / 2);
    let resend = resend.to_string();
    let config = exported(&settings("log,alertmanager", &resend), &webhook.base_url());
    let (first, second) = (free_port(), free_port());
    let a = Program::alertmanager(&program, &folder.path().join("a"), &config, first, None);
    let b = Program::alertmanager(&program, &folder.path().join("b"), &config, second, Some(first));
    a.wait(2);
    b.wait(2);

    let urls = format!("{},{}", a.url(), b.url());
    let common = [
        ("SA_ALERTS__CHANNELS", "log,alertmanager"),
        ("SA_ALERTS__ALERTMANAGER__URLS", urls.as_str()),
        ("SA_ALERTS__ALERTMANAGER__RESEND_INTERVAL_SECONDS", resend.as_str()),
    ];
    let other_port = free_port().to_string();
    let one = instances.start(&common);
    let mut others = common.to_vec();
    others.push(("SA_MONITORING__PROMETHEUS_PORT", &other_port));
    let two = instances.start(&others);

    eventually("a message", || (!webhook.arrivals().is_empty()).then_some(()));
    // Long enough for the second of the cluster to tell people too, were it to, and for another round of the group.
    let all_told = round + PEER_TIMEOUT + Duration::from_secs(3);
    std::thread::sleep(all_told);
    assert_eq!(told(&webhook), ["/critical firing 1"], "{}", log_of(&folder));
    let body: Value = serde_json::from_str(&webhook.arrivals()[0].body).unwrap();
    assert_eq!(body["alerts"][0]["annotations"]["message"], "VIX > 35");

    fs::write(instances.folder().join("calm"), "").unwrap();
    eventually("the end", || (webhook.arrivals().len() > 1).then_some(()));
    std::thread::sleep(all_told);
    assert_eq!(told(&webhook), ["/critical firing 1", "/critical resolved 1"], "{}", log_of(&folder));
    one.finish();
    two.finish();
}

fn log_of(folder: &tempfile::TempDir) -> String {
    ["a", "b"]
        .map(|name| fs::read_to_string(folder.path().join(name).join("log")).unwrap_or_default())
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_engine_pages_only_what_a_second_pair_of_eyes_sees_is_told() {
    let Some(program) = program(ALERTMANAGER) else { return };
    let webhook = Fake::start(Notes);
    let folder = tempfile::tempdir().unwrap();
    let config = exported(&settings("log", "2"), &webhook.base_url());
    let running = Program::alertmanager(&program, &folder.path().join("a"), &config, free_port(), None);
    tokio::task::block_in_place(|| running.wait(1));

    let channel = channel(&[&running.url()], SELDOM, Arc::new(SystemClock::new()));
    let mut own = state("i", EventKind::Opened, Critical, "10:01:02");
    own.since = Timestamp::now();
    assert_eq!(channel.send(&notice(own, "a")).await, Outcome::Accepted);
    assert_eq!(channel.send(&notice(direct(Critical, "by hand"), "a")).await, Outcome::Accepted);
    let labels = |name: &str, severity: &str, origin: &str, more: &[(&str, &str)]| {
        let mut labels = json!({
            "alertname": name, "severity": severity, "origin": origin, "job": "alpha-oracle-metrics",
            "instance": "localhost:8001",
        });
        for (name, value) in more {
            labels[*name] = json!(value);
        }
        json!({ "labels": labels })
    };
    let evaluated = [("evaluator", "prometheus")];
    let body = json!([
        labels("drawdown", "critical", "engine", &evaluated),
        labels("process_down", "critical", "prometheus", &[]),
        labels("process_down", "warning", "prometheus", &[]),
    ]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let posted = client.post(format!("{}/api/v2/alerts", running.url())).json(&body).send().await.unwrap();
    assert!(posted.status().is_success());
    webhook.wait_for(1).await;
    // Past group_wait and group_interval.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(told(&webhook), ["/critical firing 1"], "the warning is inhibited, the engine's are nobody's");
    assert!(webhook.arrivals()[0].body.contains("process_down"));
}
