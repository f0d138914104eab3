//! What a killed process leaves to the next one besides unsent messages: silences, windows of duplicates, incidents.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/fake.rs"]
mod fake;
#[path = "support/http.rs"]
mod http;
#[path = "support/process.rs"]
mod process;
#[path = "support/slack.rs"]
mod slack;
#[path = "support/telegram.rs"]
mod telegram;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use desk::{headline, nothing_but, seen, text, with_slack, with_telegram};
use fake::Act;
use http::{request, send};
use process::{Service, events, eventually, service, told};
use serde_json::{Value, json};
use slack::FakeSlack;
use telegram::FakeTelegram;
use trading_telemetry::alerts::event::{AlertSeverity, MetadataValue};
use trading_telemetry::{Telemetry, init_telemetry};

const TOKEN: &str = "operators-only";
const BEARER: (&str, &str) = ("authorization", "Bearer operators-only");
/// What was acknowledged, and what is open, reach the disk.
const COMMITTED: Duration = Duration::from_secs(1);

/// In the process of the service: from its start to its end as the test says.
fn obedient() {
    let telemetry = init_telemetry().unwrap();
    obey(&telemetry);
    telemetry.shutdown().unwrap();
}

/// Does what the test says: `psi 0.15`, `critical Title`, `halted Message`, `trip`, `still`.
fn obey(telemetry: &Telemetry) {
    loop {
        let line = told();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "psi" => telemetry.metrics().ml().psi(rest.parse().unwrap()),
            "critical" => {
                let at: [(&str, MetadataValue); 1] = [("price", f64::NAN.into())];
                telemetry.alerts().send_alert(AlertSeverity::Critical, rest, "", at);
            }
            // With the title of a rule whose incident it may mean.
            "halted" => {
                let none: [(&str, MetadataValue); 0] = [];
                let alerts = telemetry.alerts();
                alerts.send_alert(AlertSeverity::Critical, "Kill Switch Activated", rest, none);
            }
            "slack" => telemetry.alerts().configure_slack(rest.to_owned()),
            "trip" => telemetry.audit().kill_switch_on("VIX is no number", [("vix", f64::NAN.into())]),
            "still" => telemetry.metrics().risk().kill_switch(true),
            "" => return,
            other => panic!("{other}"),
        }
    }
}

fn shown(port: u16) -> Value {
    let response = eventually("an answer", || request(port, "GET", "/alerts", &[BEARER]).ok());
    serde_json::from_slice(&response.body).unwrap()
}

fn until_in_force(service: &Service, ids: &Value) {
    eventually("the silences", || (shown(service.port())["silences"] == *ids).then_some(()));
}

#[test]
fn a_silence_of_a_call_outlives_a_kill_and_its_end_does_too() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack).variable("SA_MONITORING__BEARER_TOKEN", TOKEN);
    let port = service.port();
    let mut running = service.start(&[]);
    shown(port);
    let until = jiff::Timestamp::now() + Duration::from_hours(1);
    let wanted = json!({"id": "retraining", "rule": "psi", "labels": ["model!=\"a\""], "until": until,
                        "comment": "night job"});
    assert_eq!(send(port, "POST", "/alerts/silences", &[BEARER], &wanted.to_string()).unwrap().status, 201);
    until_in_force(&service, &json!(["retraining"]));
    running.tell("psi 0.15");
    eventually("the incident", || (shown(port)["open"][0]["muted"] == true).then_some(()));
    sleep(COMMITTED);
    running.kill();

    let mut running = service.start(&[]);
    until_in_force(&service, &json!(["retraining"]));
    let kept: Value =
        serde_json::from_slice(&request(port, "GET", "/alerts/silences", &[BEARER]).unwrap().body).unwrap();
    assert_eq!(kept["silences"][0], wanted);
    running.tell("psi 0.3");
    eventually("the incident", || (shown(port)["open"][0]["severity"] == "critical").then_some(()));
    nothing_but(&slack, &[]);
    assert_eq!(request(port, "DELETE", "/alerts/silences/retraining", &[BEARER]).unwrap().status, 200);
    let headline = headline(&seen(&slack, 1)[0]);
    assert!(headline.ends_with("CRITICAL: Model Drift"), "what it muted is told: {headline}");
    sleep(COMMITTED);
    running.kill();

    let running = service.start(&[]);
    until_in_force(&service, &json!([]));
    nothing_but(&slack, &[&headline]);
    running.finish();
}

#[test]
fn a_channel_that_each_process_sets_up_itself_is_not_told_again_what_is_open() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack).variable("SLACK_WEBHOOK_URL", "");
    let set_up = format!("slack {}", slack.webhook_url());
    let mut running = service.start(&[]);
    running.tell(&set_up);
    running.tell("psi 0.15");
    seen(&slack, 1);
    sleep(COMMITTED);
    running.kill();

    let mut running = service.start(&[]);
    running.tell(&set_up);
    nothing_but(&slack, &["\u{26a0}\u{fe0f} WARNING: Model Drift"]);
    running.tell("psi 0.01");
    seen(&slack, 2);
    nothing_but(&slack, &["\u{26a0}\u{fe0f} WARNING: Model Drift", "✅ RESOLVED: Model Drift"]);
    running.finish();
}

#[test]
fn the_same_alert_after_a_kill_and_within_its_window_is_counted_and_not_sent_again() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack).variable("SA_ALERTS__DEDUP_WINDOW_SECONDS", "15");
    let first = "\u{26a0}\u{fe0f} CRITICAL: Margin call";
    let mut running = service.start(&[]);
    running.tell("critical Margin call");
    seen(&slack, 1);
    sleep(COMMITTED);
    running.kill();

    // Killed once more, so that the count must be on disk, too.
    for _ in 0..2 {
        let mut running = service.start(&[]);
        running.tell("critical Margin call");
        eventually("a start", || events(&service.log(), "telemetry_started").pop().map(|_| ()));
        nothing_but(&slack, &[first]);
        running.kill();
    }
    let running = service.start(&[]);
    let both = seen(&slack, 2);
    assert_eq!(headline(&both[1]), format!("{first} (×2)"));
    running.finish();
}

/// Whether the outbox in this folder holds the text.
fn is_stored(folder: &Path, text: &str) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut outboxes = files.filter(|file| file.extension().is_some_and(|extension| extension == "redb"));
    outboxes.any(|file| fs::read(file).unwrap().windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn an_alert_that_a_kill_finds_waiting_for_its_incident_goes_out_with_the_next_start_and_once() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack);
    let told = |message: &str| -> Vec<String> {
        let accepted = slack.fake.accepted();
        accepted.iter().filter(|arrival| text(arrival).contains(message)).map(headline).collect()
    };
    // It waits for half a second; where the machine is too busy to be killed within that, the next one is tried.
    let message = (0..20).map(|number| format!("VIX > {number}")).find(|message| {
        let mut running = service.start(&[]);
        running.tell(&format!("halted {message}"));
        eventually("the alert on disk", || is_stored(&service.folder().join("state"), message).then_some(()));
        // From what is written to what is committed.
        sleep(Duration::from_millis(100));
        running.kill();
        told(message).is_empty()
    });
    let message = message.unwrap();
    let running = service.start(&[]);
    eventually("what waited", || (!told(&message).is_empty()).then_some(()));
    sleep(COMMITTED);
    running.kill();
    let running = service.start(&[]);
    sleep(Duration::from_secs(2));
    running.finish();
    let headlines = told(&message);
    assert_eq!(headlines.len(), 1, "{headlines:?}");
    assert!(headlines[0].starts_with("[DELAYED "), "{headlines:?}");
    assert!(headlines[0].ends_with(" CRITICAL: Kill Switch Activated"), "{headlines:?}");
}

#[test]
fn an_incident_whose_reason_is_no_number_outlives_a_kill() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack);
    let activated = "\u{26a0}\u{fe0f} CRITICAL: Kill Switch Activated";
    let mut running = service.start(&[]);
    running.tell("trip");
    seen(&slack, 1);
    sleep(COMMITTED);
    running.kill();
    let mut running = service.start(&[]);
    running.tell("still");
    sleep(Duration::from_secs(2));
    nothing_but(&slack, &[activated]);
    let log = running.finish().log;
    assert!(events(&log, "alert_incidents_not_read").is_empty());
}

#[test]
fn that_a_channel_delivers_again_is_told_also_by_the_next_process() {
    let service = service(|| {
        obedient();
    });
    let (slack, telegram) = (FakeSlack::start(), FakeTelegram::start());
    slack.fake.always(Act::status(403, "invalid_token"));
    let service = with_telegram(with_slack(service, &slack), &telegram);
    let in_telegram = |what: &str, text: &str| {
        eventually(what, || telegram.fake.accepted().into_iter().find(|told| told.body.contains(text)));
    };
    let mut running = service.start(&[]);
    running.tell("critical Margin call");
    in_telegram("the trouble", "CRITICAL: Alert channel slack is not delivering");
    sleep(COMMITTED);
    running.kill();

    slack.fake.always(Act::Honest);
    let running = service.start(&[]);
    seen(&slack, 1);
    in_telegram("its end", "RESOLVED: Alert channel slack is not delivering");
    running.finish();
}

#[test]
fn a_silence_of_a_rule_that_does_not_exist_is_refused_over_http_and_told_of_a_file() {
    let service = service(|| {
        obedient();
    });
    let until = jiff::Timestamp::now() + Duration::from_hours(1);
    let service = service.variable("SA_MONITORING__BEARER_TOKEN", TOKEN).file(
        "config/silences.yaml",
        &format!(
            "silences:\n  - {{id: slip, rule: drawdwn, until: {until}}}\n  - {{id: good, rule: psi, until: {until}}}\n"
        ),
    );
    let running = service.start(&[]);
    until_in_force(&service, &json!(["slip", "good"]));
    let wanted = json!({"id": "x", "rule": "drawdwn", "until": until}).to_string();
    let refused = send(service.port(), "POST", "/alerts/silences", &[BEARER], &wanted).unwrap();
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("did you mean `drawdown`?"), "{}", refused.text());
    assert_eq!(shown(service.port())["silences"], json!(["slip", "good"]));
    let log = running.finish().log;
    assert!(events(&log, "alert_silence_added").is_empty(), "what was refused is in no audit trail");
    let [warning] = events(&log, "alert_silence_of_unknown_rule")[..] else { panic!("{log:?}") };
    let error = warning["error"].as_str().unwrap();
    assert!(error.contains("`slip`") && error.contains("did you mean `drawdown`?"), "{error}");
}
