//! What people read when Alertmanager tells them, and that they read it once, whoever tells: real Alertmanager and
//! Prometheus with the exported files, and strict servers in place of Slack and Telegram.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails by it")]

#[path = "support/alertmanager.rs"]
mod alertmanager;
#[path = "support/fake.rs"]
mod fake;
#[path = "support/process.rs"]
mod process;
#[path = "support/slack.rs"]
mod slack;
#[path = "support/telegram.rs"]
mod telegram;

use std::fs;
use std::path::Path;
use std::time::Duration;

use alertmanager::{ALERTMANAGER, Program, halted, program};
use fake::{Arrival, Fake, Reply};
use process::{Service, eventually, free_port, service};
use serde_json::{Value, json};
use telegram::FakeTelegram;
use trading_telemetry::alerts::export::{self, Secrets};
use trading_telemetry::alerts::rule::RuleSet;
use trading_telemetry::settings::{Settings, Sources};

const TOKEN: &str = "a-token-of-the-tests";

/// Slack's webhook as the engine uses it (blocks) and as Alertmanager does (attachments).
struct Desk;

impl fake::Service for Desk {
    fn answer(&mut self, request: &Arrival) -> (Reply, bool) {
        let refuse = |status, code| (Reply::new(status, code), false);
        if request.path != slack::PATH {
            return refuse(404, "no_service");
        }
        if !request.content_type.starts_with("application/json") || headline(&request.body).is_none() {
            return refuse(400, "invalid_payload");
        }
        (Reply::new(200, "ok"), true)
    }
}

/// The first line of a message to Slack.
fn headline(body: &str) -> Option<String> {
    let payload: Value = serde_json::from_str(body).ok()?;
    let attached = &payload["attachments"][0]["title"];
    attached.as_str().or(payload["text"].as_str()).map(str::to_owned)
}

fn told(slack: &Fake) -> Vec<String> {
    slack.accepted().iter().filter_map(|arrival| headline(&arrival.body)).collect()
}

/// The configuration that `export --fill-secrets` writes.
fn filled_in(variables: &[(&str, &str)]) -> String {
    let sources = Sources::empty()
        .folder(std::env::temp_dir())
        .variable("SA_ALERTS__ALERTMANAGER__RESEND_INTERVAL_SECONDS", "2");
    let sources = variables.iter().fold(sources, |sources, (name, value)| sources.variable(*name, *value));
    let settings = Settings::load(&sources).unwrap().settings.alerts;
    export::alertmanager(&RuleSet::built_in(), &settings, Secrets::FilledIn)
}

async fn post(to: &Program, alerts: &Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let posted = client.post(format!("{}/api/v2/alerts", to.url())).json(alerts).send().await.unwrap();
    assert!(posted.status().is_success(), "{posted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_and_telegram_take_what_the_exported_receivers_write() {
    let Some(program) = program(ALERTMANAGER) else { return };
    let (slack, telegram) = (Fake::start(Desk), FakeTelegram::start());
    let folder = tempfile::tempdir().unwrap();
    let config = filled_in(&[
        ("SLACK_WEBHOOK_URL", &format!("{}{}", slack.base_url(), slack::PATH)),
        ("TELEGRAM_BOT_TOKEN", telegram::TOKEN),
        ("TELEGRAM_CHAT_ID", telegram::CHAT),
        ("SA_ALERTS__TELEGRAM__API_BASE_URL", &telegram.fake.base_url()),
    ]);
    let running = Program::alertmanager(&program, folder.path(), &config, free_port(), None);
    tokio::task::block_in_place(|| running.wait(1));
    let alert = |name: &str, severity: &str, title: &str| {
        json!({
            "labels": {"alertname": name, "severity": severity, "origin": "prometheus", "job": "alpha-oracle-metrics"},
            "annotations": {"title": title, "message": "<!channel> P&L is blind\n> @here"},
        })
    };
    let down = alert("process_down", "critical", "Process Down: <b> & Co");
    let failing = alert("scrape_failing", "warning", "Scrapes Fail");
    post(&running, &json!([down, failing])).await;
    let both = |number: usize| {
        eventually("messages on both", || {
            (slack.accepted().len() >= number && telegram.fake.accepted().len() >= number).then_some(())
        });
    };
    tokio::task::block_in_place(|| both(2));
    let mut over = down;
    over["endsAt"] = json!(jiff::Timestamp::now());
    post(&running, &json!([over])).await;
    tokio::task::block_in_place(|| both(3));

    assert_eq!(
        told(&slack),
        [
            "⚠️ CRITICAL: Process Down: &lt;b> &amp; Co",
            "⚠️ WARNING: Scrapes Fail",
            "✅ RESOLVED: Process Down: &lt;b> &amp; Co"
        ]
    );
    let mut problems = Vec::new();
    for arrival in slack.accepted() {
        let attachment = &serde_json::from_str::<Value>(&arrival.body).unwrap()["attachments"][0];
        for part in ["fallback", "title", "text"] {
            slack::regret(attachment[part].as_str().unwrap(), &mut problems);
        }
    }
    // A mention needs its `<`; by name alone a webhook reaches nobody.
    problems.retain(|problem| !problem.starts_with("a mention") && !problem.starts_with("a quotation"));
    assert_eq!(problems, Vec::<String>::new());

    let telegrams: Vec<Value> =
        telegram.fake.accepted().iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
    let firsts: Vec<_> =
        telegrams.iter().map(|one| one["text"].as_str().unwrap().lines().next().unwrap()).collect();
    assert_eq!(
        firsts,
        [
            "🔴 CRITICAL: Process Down: <b> & Co",
            "🟡 WARNING: Scrapes Fail",
            "✅ RESOLVED: Process Down: <b> & Co"
        ]
    );
    assert!(telegrams[0]["text"].as_str().unwrap().contains("<!channel> P&L is blind"), "{}", telegrams[0]);
    // Critical alone rings, and nothing is read as markup.
    let silent: Vec<_> = telegrams.iter().map(|one| one["disable_notification"] == json!("true")).collect();
    assert_eq!(silent, [false, true, false]);
    assert!(telegrams.iter().all(|one| one["parse_mode"].as_str().unwrap_or_default().is_empty()));
}

/// The engine, Prometheus with the exported rules and Alertmanager, all of which see one incident, over a SIGKILL of the
/// service: people read of it once, and once that it is over.
fn one_incident_is_one_message(desk: &Service, mode: &[(&str, &str)]) {
    let (Some(alertmanager), Some(prometheus)) = (program(ALERTMANAGER), program(&["prometheus"])) else {
        return;
    };
    let slack = Fake::start(Desk);
    let webhook = format!("{}{}", slack.base_url(), slack::PATH);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let secret = [("SLACK_WEBHOOK_URL", webhook.as_str())];
    let urls = [("SA_ALERTS__ALERTMANAGER__URLS", "http://127.0.0.1:9093")];
    let config = filled_in(&[&secret[..], &urls, mode].concat());
    let manager = Program::alertmanager(&alertmanager, &folder.path().join("a"), &config, free_port(), None);
    manager.wait(1);

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut text = fs::read_to_string(root.join("prometheus.yml")).unwrap();
    let (service, itself) = (format!("127.0.0.1:{}", desk.port()), format!("127.0.0.1:{port}"));
    let token = folder.path().join("token").display().to_string();
    for (committed, here) in [
        ("15s", "1s"),
        ("alertmanager:9093", manager.url().trim_start_matches("http://")),
        ("host.docker.internal:8000", &service),
        ("host.docker.internal:8001", &service),
        ("redis-exporter:9121", &itself),
        ("postgres-exporter:9187", &itself),
        ("/run/secrets/metrics_token", &token),
    ] {
        assert!(text.contains(committed), "{committed}");
        text = text.replace(committed, here);
    }
    fs::create_dir(folder.path().join("rules")).unwrap();
    let rules = "rules/trading-telemetry.yml";
    fs::copy(root.join(rules), folder.path().join(rules)).unwrap();
    fs::write(folder.path().join("token"), TOKEN).unwrap();
    fs::write(folder.path().join("prometheus.yml"), text).unwrap();
    let evaluator = Program::prometheus(&prometheus, folder.path(), port);

    let reached = [("SA_ALERTS__ALERTMANAGER__URLS", manager.url())];
    let reached = reached.iter().map(|(name, value)| (*name, value.as_str()));
    let own =
        [("SA_MONITORING__BEARER_TOKEN", TOKEN), ("SA_ALERTS__ALERTMANAGER__RESEND_INTERVAL_SECONDS", "2")];
    let variables: Vec<_> =
        own.into_iter().chain(secret).chain(reached).chain(mode.iter().copied()).collect();
    let killed = desk.start(&variables);
    eventually("a message", || (!told(&slack).is_empty()).then_some(()));
    let is_copy = |alert: &Value| {
        alert["labels"]["alertname"] == "kill_switch" && alert["labels"]["evaluator"] == "prometheus"
    };
    eventually("Prometheus sees it too, and posts it", || {
        manager.alerts("/api/v2/alerts").iter().any(is_copy).then_some(())
    });
    killed.kill();
    let again = desk.start(&variables);
    let is_up = || {
        evaluator.alerts("/api/v1/alerts").iter().any(|alert| is_copy(alert) && alert["state"] == "firing")
    };
    eventually("Prometheus still sees it", || is_up().then_some(()));
    // Longer than a round of the group, and than a resend.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(told(&slack), ["⚠️ CRITICAL: Kill Switch Activated"]);

    fs::write(desk.folder().join("calm"), "").unwrap();
    eventually("the end", || (told(&slack).len() > 1).then_some(()));
    eventually("Prometheus sees the end", || (!is_up()).then_some(()));
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(told(&slack), ["⚠️ CRITICAL: Kill Switch Activated", "✅ RESOLVED: Kill Switch Activated"]);
    again.finish();
}

#[test]
fn one_message_where_the_engine_pages() {
    let desk = service(|| {
        halted();
    });
    one_incident_is_one_message(&desk, &[("SA_ALERTS__CHANNELS", "log,slack,alertmanager")]);
}

#[test]
fn one_message_where_alertmanager_pages() {
    let desk = service(|| {
        halted();
    });
    one_incident_is_one_message(&desk, &[("SA_ALERTS__CHANNELS", "log,alertmanager")]);
}
