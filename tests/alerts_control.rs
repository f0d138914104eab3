//! What an operator does with the alerts of a running service, and what a start refuses.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a service of a test that cannot go on fails, and the test with it"
)]

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

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use desk::{headline, nothing_but, seen, with_slack, with_telegram};
use fake::{Act, Arrival, Fake, Reply};
use http::{request, scrape, send, value};
use process::{Service, events, eventually, log_lines, port, service, told, until_told};
use serde_json::{Value, json};
use slack::FakeSlack;
use telegram::FakeTelegram;
use trading_telemetry::alerts::direct::DirectAlert;
use trading_telemetry::alerts::event::{AlertSeverity, MetadataValue};
use trading_telemetry::alerts::silence::Silence;
use trading_telemetry::health::Down;
use trading_telemetry::{Telemetry, init_telemetry};

const NO_METADATA: [(&str, MetadataValue); 0] = [];
const TOKEN: &str = "operators-only";
const BEARER: (&str, &str) = ("authorization", "Bearer operators-only");

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The JSON of `/alerts`.
fn shown(port: u16) -> Value {
    let response = request(port, "GET", "/alerts", &[BEARER]).unwrap();
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&response.body).unwrap()
}

/// In the process of the service: from its start to its end as the test says.
fn obedient() {
    let telemetry = init_telemetry().unwrap();
    obey(&telemetry);
    telemetry.shutdown().unwrap();
}

/// Does what the test says: `psi 0.15`, `critical Title`.
fn obey(telemetry: &Telemetry) {
    loop {
        let line = told();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "psi" => telemetry.metrics().ml().psi(rest.parse().unwrap()),
            "critical" => telemetry.alerts().send_alert(AlertSeverity::Critical, rest, "", NO_METADATA),
            "info" => telemetry.alerts().send_alert(AlertSeverity::Info, rest, "", NO_METADATA),
            "slak" => {
                let alert = DirectAlert::new(AlertSeverity::Critical, rest, "");
                telemetry.alerts().send(DirectAlert { channels: Some(vec!["slak".into()]), ..alert });
            }
            "slack" => telemetry.alerts().configure_slack(rest.to_owned()),
            "telegram" => {
                let (bot_token, chat_id) = rest.split_once(' ').unwrap();
                telemetry.alerts().configure_telegram(bot_token, chat_id);
            }
            "silence" => {
                let until = jiff::Timestamp::now() + Duration::from_hours(1);
                let silence = Silence::new(rest, Some("psi"), &[], until, None).unwrap();
                telemetry.alerts().silence(silence).unwrap();
                let unknown = Silence::new("x", Some("psy"), &[], until, None).unwrap();
                let refused = telemetry.alerts().silence(unknown).unwrap_err();
                assert!(refused.to_string().contains("did you mean `psi`?"), "{refused}");
            }
            "end" => println!("ended={}", block_on(telemetry.alerts().end_silence(rest))),
            "test" => println!(
                "{rest}: {:?}",
                block_on(telemetry.alerts().test_channel(rest)).map_err(|e| e.to_string())
            ),
            "" => return,
            other => panic!("{other}"),
        }
    }
}

#[test]
fn every_family_is_on_the_first_scrape_for_every_channel() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let scrape = scrape(port());
        for channel in ["log", "slack", "telegram"] {
            let zero =
                |series: String| assert_eq!(value(&scrape, &series), Some(0.0), "{series} in\n{scrape}");
            for severity in ["critical", "warning", "info"] {
                for result in ["sent", "retried", "undeliverable", "dropped", "silenced", "deduplicated"] {
                    zero(format!(
                        "trading_alerts_total{{channel=\"{channel}\",result=\"{result}\",severity=\"{severity}\"}}"
                    ));
                }
            }
            let up = format!("trading_alert_channel_up{{channel=\"{channel}\"}}");
            assert_eq!(value(&scrape, &up), Some(1.0), "{scrape}");
            if channel != "log" {
                zero(format!("trading_alert_queue_length{{channel=\"{channel}\"}}"));
                zero(format!("trading_alert_oldest_unsent_seconds{{channel=\"{channel}\"}}"));
                zero(format!("trading_alert_send_duration_seconds_count{{channel=\"{channel}\"}}"));
            }
        }
        for severity in ["critical", "warning", "info"] {
            let open = format!("trading_alert_incidents_open{{severity=\"{severity}\"}}");
            assert_eq!(value(&scrape, &open), Some(0.0), "{scrape}");
        }
        for rule in ["pdt", "drawdown", "daily_pnl", "psi", "kill_switch", "broker", "feed", "component"] {
            let state = format!("trading_alert_rule_state{{rule=\"{rule}\"}}");
            assert_eq!(value(&scrape, &state), Some(-1.0), "nothing was recorded yet: {scrape}");
        }
        telemetry.shutdown().unwrap();
    });
    let (slack, telegram) = (FakeSlack::start(), FakeTelegram::start());
    with_telegram(with_slack(service, &slack), &telegram).run(&[]);
}

#[test]
fn a_silence_from_each_source_mutes_messages_until_it_ends() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack).variable("SA_MONITORING__BEARER_TOKEN", TOKEN);
    let mut running = service.start(&[]);
    let port = service.port();
    eventually("a start", || request(port, "GET", "/alerts", &[BEARER]).ok());
    let in_force = |ids: Value| eventually("the silences", || (shown(port)["silences"] == ids).then_some(()));
    let open = |number: usize| {
        eventually("the incident", || {
            (shown(port)["open"].as_array().unwrap().len() == number).then_some(())
        });
    };
    let muted_round = |running: &mut process::Running| {
        running.tell("psi 0.15");
        open(1);
        running.tell("psi 0.01");
        open(0);
        nothing_but(&slack, &[]);
    };

    // Over HTTP.
    let until = jiff::Timestamp::now() + Duration::from_hours(1);
    let wanted =
        json!({"id": "retraining", "rule": "psi", "until": until, "comment": "night job"}).to_string();
    for (headers, body, status) in [
        (&[][..], wanted.as_str(), 401),
        (&[("authorization", "Bearer wrong")][..], &wanted, 401),
        (&[BEARER][..], "{}", 400),
        (&[BEARER][..], "nonsense", 400),
        (&[BEARER][..], &json!({"id": "x", "rule": "kill_switch", "until": until}).to_string(), 400),
        (&[BEARER][..], "{\"id\": \"x\", \"rule\": \"psi\", \"until\": \"2020-01-01T00:00:00Z\"}", 400),
        (&[BEARER][..], &wanted, 201),
    ] {
        let answer = send(port, "POST", "/alerts/silences", headers, body).unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    in_force(json!(["retraining"]));
    muted_round(&mut running);
    let end =
        |id: &str| request(port, "DELETE", &format!("/alerts/silences/{id}"), &[BEARER]).unwrap().status;
    assert_eq!(request(port, "DELETE", "/alerts/silences/retraining", &[]).unwrap().status, 401);
    assert_eq!((end("retraining"), end("retraining")), (200, 404));
    in_force(json!([]));

    // By a call.
    running.tell("silence by-call");
    in_force(json!(["by-call"]));
    muted_round(&mut running);
    running.tell("end by-call");
    running.tell("end by-call");
    eventually("both answers", || running.output().contains("ended=true\nended=false").then_some(()));
    in_force(json!([]));

    // In the file.
    let file = service.folder().join("config/silences.yaml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, format!("silences:\n  - {{id: planned, rule: psi, until: {until}}}\n")).unwrap();
    in_force(json!(["planned"]));
    std::fs::write(&file, "silences:\n  - {id: planned, rule: psi, untill: never}\n").unwrap();
    let told = eventually("a line about the mistake", || {
        events(&service.log(), "alert_silences_not_read").pop().map(Value::to_string)
    });
    assert!(told.contains("config/silences.yaml:2:") && told.contains("did you mean `until`"), "{told}");
    muted_round(&mut running);
    std::fs::remove_file(&file).unwrap();
    in_force(json!([]));

    running.tell("psi 0.15");
    assert_eq!(headline(&seen(&slack, 1)[0]), "\u{26a0}\u{fe0f} WARNING: Model Drift");
    let log = running.finish().log;
    let audited = |event: &str| -> Vec<Value> {
        let lines = events(&log, event).into_iter().filter(|line| line["logger"] == "audit");
        lines.map(|line| line["silence"].clone()).collect()
    };
    assert_eq!(audited("alert_silence_added"), ["retraining"]);
    assert_eq!(audited("alert_silence_ended"), ["retraining"]);
}

#[test]
fn without_a_token_nothing_can_be_changed_over_http() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        assert_eq!(request(port(), "GET", "/alerts", &[]).unwrap().status, 200);
        for (method, path) in [
            ("POST", "/alerts/silences"),
            ("DELETE", "/alerts/silences/x"),
            ("POST", "/alerts/test/log"),
            ("PUT", "/log-filter"),
        ] {
            let status = send(port(), method, path, &[BEARER], "info").unwrap().status;
            assert!([404, 405].contains(&status), "{method} {path}: {status}");
        }
        telemetry.shutdown().unwrap();
    });
    service.run(&[]);
}

#[test]
fn a_channel_can_be_tested_and_configured_while_the_service_runs() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        obey(&telemetry);
        println!("{}", telemetry.shutdown().unwrap());
    });
    let (slack, telegram) = (FakeSlack::start(), FakeTelegram::start());
    let service = with_telegram(with_slack(service, &slack), &telegram)
        .variable("SA_MONITORING__BEARER_TOKEN", TOKEN)
        .variable("SLACK_WEBHOOK_URL", "");
    let mut running = service.start(&[]);
    let answered = |running: &process::Running, answer: &str| {
        eventually(answer, || running.output().contains(answer).then_some(()));
    };
    running.tell("critical First");
    eventually("First in Telegram", || telegram.fake.accepted().pop());
    running.tell("test slack");
    answered(&running, "slack: Err(");
    running.tell(&format!("slack {}", slack.webhook_url()));
    running.tell("test slack");
    answered(&running, "slack: Ok(())");
    assert!(headline(&seen(&slack, 1)[0]).contains("[TEST] "), "{}", headline(&seen(&slack, 1)[0]));
    running.tell("critical Second");
    assert!(headline(&seen(&slack, 2)[1]).ends_with("CRITICAL: Second"));

    let port = service.port();
    let test = |channel: &str| send(port, "POST", &format!("/alerts/test/{channel}"), &[BEARER], "").unwrap();
    for channel in ["slack", "telegram", "log"] {
        assert_eq!((test(channel).status, test(channel).text()), (200, "delivered\n"), "{channel}");
    }
    let unknown = test("pager");
    assert!(unknown.status == 502 && unknown.text().contains("pager"), "{}", unknown.text());
    assert_eq!(send(port, "POST", "/alerts/test/slack", &[], "").unwrap().status, 401);

    // A test message that hangs is no concern of the others.
    slack.fake.always(Act::Silence);
    let hung = std::thread::spawn(move || {
        send(port, "POST", "/alerts/test/slack", &[BEARER], "")
            .map(|answer| (answer.status, answer.text().to_owned()))
    });
    let before = slack.fake.arrivals().len();
    eventually("the test on its way", || (slack.fake.arrivals().len() > before).then_some(()));
    let asked = Instant::now();
    running.tell("critical Third");
    eventually("Third in Telegram", || {
        telegram.fake.accepted().iter().any(|arrival| arrival.body.contains("Third")).then_some(())
    });
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    let (status, why) = hung.join().unwrap().unwrap();
    assert_eq!(
        (status, why.as_str()),
        (504, "channel slack did not answer in 8 s: check its service and the network\n")
    );
    slack.fake.always(Act::Honest);
    eventually("Third in Slack", || {
        slack.fake.accepted().iter().any(|arrival| headline(arrival).ends_with("Third")).then_some(())
    });

    // What went on before a channel was added is still counted.
    let sent = shown(port);
    let telegrams =
        sent["channels"].as_array().unwrap().iter().find(|channel| channel["channel"] == "telegram");
    assert!(telegrams.unwrap()["sent"].as_u64().unwrap() >= 3, "{sent}");
    let log = running.finish().log;
    let tested = events(&log, "alert_channel_tested");
    assert!(tested.iter().all(|line| line["logger"] == "audit") && tested.len() >= 8, "{tested:?}");
}

#[test]
fn a_channel_that_cannot_be_set_up_keeps_no_other_from_being_set_up_later() {
    let service = service(|| {
        obedient();
    });
    let (slack, telegram) = (FakeSlack::start(), FakeTelegram::start());
    let service = with_telegram(with_slack(service, &slack), &telegram)
        .variable("TELEGRAM_BOT_TOKEN", "")
        .variable("TELEGRAM_CHAT_ID", "");
    let mut running = service.start(&[]);
    running.tell("slack hooks.slack.com/services/T0/B0/secret");
    running.tell(&format!("telegram {} {}", telegram::TOKEN, telegram::CHAT));
    running.tell("test telegram");
    eventually("the test", || running.output().contains("telegram: ").then_some(()));
    assert!(running.output().contains("telegram: Ok(())"), "{}", running.output());
    running.tell("critical First");
    assert!(headline(&seen(&slack, 1)[0]).ends_with("First"), "as before");
    let log = running.finish().log;
    assert_eq!(events(&log, "alert_channel_not_configured").len(), 1);
}

#[test]
fn what_is_set_up_or_silenced_holds_for_what_the_service_does_next() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let alerts = telemetry.alerts();
        alerts.configure_slack(told());
        alerts.send_alert(AlertSeverity::Critical, "First", "", NO_METADATA);
        let end = jiff::Timestamp::now() + Duration::from_hours(1);
        for component in ["broker", "feed"] {
            alerts.silence(Silence::new(component, Some(component), &[], end, None).unwrap()).unwrap();
            telemetry.health().report(component, Down("moved to another rack"));
        }
        until_told();
        telemetry.shutdown().unwrap();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack).variable("SLACK_WEBHOOK_URL", "");
    let mut running = service.start(&[]);
    running.tell(&slack.webhook_url());
    seen(&slack, 1);
    eventually("both losses in the log", || {
        let told = service.log();
        let losses = events(&told, "alert").into_iter().filter(|line| line["title"] != "First").count();
        (losses == 2).then_some(())
    });
    nothing_but(&slack, &["\u{26a0}\u{fe0f} CRITICAL: First"]);
    running.finish();
}

#[test]
fn whoever_sends_alerts_without_a_pause_keeps_no_rule_from_being_evaluated() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let alerts = telemetry.alerts().clone();
        std::thread::spawn(move || {
            loop {
                alerts.send_alert(AlertSeverity::Info, "Tick", "", NO_METADATA);
            }
        });
        obey(&telemetry);
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack);
    let mut running = service.start(&[]);
    seen(&slack, 1);
    let began = Instant::now();
    for psi in ["0.3", "0.01", "0.3", "0.01"] {
        running.tell(&format!("psi {psi}"));
        let is_over = |arrival: &Arrival| headline(arrival).contains("RESOLVED") == (psi == "0.01");
        eventually("the change", || {
            let told = slack.fake.accepted();
            let last = told.iter().rfind(|arrival| headline(arrival).ends_with("Model Drift"));
            last.is_some_and(is_over).then_some(())
        });
    }
    // Four evaluations, each a tenth of a second after the other.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    running.finish();
}

struct Listener;

impl fake::Service for Listener {
    fn answer(&mut self, _: &Arrival) -> (Reply, bool) {
        (Reply::new(200, ""), true)
    }
}

#[test]
fn a_subscriber_acts_whatever_the_others_do_and_somebody_hears_the_heart() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let alerts = telemetry.alerts();
        alerts.subscribe(|_| panic!("a subscriber's own mistake")).unwrap();
        alerts.subscribe(|_| sleep(Duration::from_hours(1))).unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        alerts.subscribe(move |event| drop(told.send(event.clone()))).unwrap();
        for _ in 0..3 {
            telemetry.audit().kill_switch_on("VIX > 35", [("vix", 38.5.into())]);
            let opened = heard.recv_timeout(process::PATIENCE).unwrap();
            assert_eq!((opened.kind.as_str(), opened.message.as_str()), ("opened", "VIX > 35"));
            telemetry.audit().kill_switch_off("all clear");
            let resolved = heard.recv_timeout(process::PATIENCE).unwrap();
            assert_eq!((resolved.kind.as_str(), &resolved.incident), ("resolved", &opened.incident));
        }
        println!("acted");
        until_told();
        telemetry.shutdown().unwrap();
    });
    let (slack, heart) = (FakeSlack::start(), Fake::start(Listener));
    let service = with_slack(service, &slack)
        .variable("SA_ALERTS__HEARTBEAT_URL", &format!("{}/ping/heart-secret", heart.base_url()))
        .variable("SA_ALERTS__HEARTBEAT_INTERVAL_SECONDS", "0.2");
    let running = service.start(&[]);
    eventually("the acts", || running.output().contains("acted").then_some(()));
    let beats = eventually("three beats", || Some(heart.arrivals()).filter(|beats| beats.len() >= 3));
    assert!(
        beats.iter().all(|beat| (beat.method.as_str(), beat.path.as_str()) == ("GET", "/ping/heart-secret"))
    );
    assert!(!seen(&slack, 1).is_empty());
    // Its panic may take its time to say where it was.
    eventually("the mistake is told", || {
        events(&service.log(), "alert_subscriber_panicked").first().map(|_| ())
    });
    let log = running.finish().log;
    assert!(log.iter().all(|line| !line.to_string().contains("heart-secret")));
}

#[test]
fn what_alerts_shows_is_what_the_manual_says() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack).variable("SA_MONITORING__BEARER_TOKEN", TOKEN);
    let mut running = service.start(&[]);
    let port = service.port();
    eventually("a start", || request(port, "GET", "/alerts", &[BEARER]).ok());
    running.tell("psi 0.15");
    running.tell("critical Margin call");
    seen(&slack, 2);
    let shown = eventually("both", || {
        let shown = shown(port);
        let counted = shown["channels"][1]["sent"] == 2 && shown["channels"][1]["queued"] == 0;
        counted.then_some(shown)
    });
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(&shown),
        ["channels", "evaluation_duration_seconds", "open", "recent", "rules", "silences"]
    );
    let open = &shown["open"][0];
    assert_eq!(
        (&open["rule"], &open["severity"], &open["value"]),
        (&"psi".into(), &"warning".into(), &0.15.into())
    );
    assert!(
        open["incident"].is_string() && open["since"].is_string() && open["duration_seconds"].is_number()
    );
    let recent = shown["recent"].as_array().unwrap();
    assert_eq!(recent.len(), 2);
    let direct = recent.iter().find(|event| event["kind"] == "direct").unwrap();
    assert_eq!((&direct["title"], &direct["severity"]), (&"Margin call".into(), &"critical".into()));
    let opened = recent.iter().find(|event| event["kind"] == "opened").unwrap();
    assert_eq!(opened["incident"], open["incident"]);
    assert_eq!(shown["channels"][0]["channel"], "log");
    assert_eq!(
        shown["channels"][1],
        json!({
            "channel": "slack", "up": true, "attempts": 2, "sent": 2, "queued": 0, "oldest_unsent_seconds": null,
        })
    );
    assert!(shown["rules"].as_array().unwrap().contains(&json!({"rule": "psi", "state": 1})), "{shown}");
    assert_eq!(request(port, "GET", "/alerts", &[]).unwrap().status, 401);
    running.finish();
}

#[test]
fn neither_webhook_nor_token_is_anywhere_however_much_is_logged() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        tracing::trace!("desk_detail");
        obey(&telemetry);
        println!("{}", scrape(port()));
        println!("{}", request(port(), "GET", "/alerts", &[]).unwrap().text());
        println!("{telemetry:?} {:?}", telemetry.alerts());
        telemetry.shutdown().unwrap();
    });
    let (slack, telegram) = (FakeSlack::start(), FakeTelegram::start());
    let wrongs = [
        Act::status(403, "invalid_token"),
        Act::redirect("http://127.0.0.1:9/elsewhere"),
        Act::Reset,
        Act::Garbage,
        Act::CutShort,
        Act::Portal,
        Act::status(500, "oops"),
        Act::status(400, "invalid_payload"),
        Act::slow_down(1),
        Act::Silence,
        Act::Endless,
        Act::status(401, r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#),
        Act::status(410, "channel_is_archived"),
    ];
    let service = with_telegram(with_slack(service, &slack), &telegram)
        .variable("RUST_LOG", "trace")
        .variable("SA_ALERTS__REQUEST_TIMEOUT_SECONDS", "0.5")
        .variable("SA_LOGGING__FORMAT", "console");
    // One life for each way in which a request can go wrong.
    for act in wrongs {
        slack.fake.script([act.clone()]);
        telegram.fake.script([act.clone()]);
        let before = (slack.fake.arrivals().len(), telegram.fake.arrivals().len());
        let mut running = service.start(&[]);
        // Another title each time: the same one would be folded.
        running.tell(&format!("critical Margin call {act:?}"));
        running.tell("psi 0.3");
        eventually("both tries", || {
            let now = (slack.fake.arrivals().len(), telegram.fake.arrivals().len());
            (now.0 > before.0 && now.1 > before.1).then_some(())
        });
        sleep(Duration::from_millis(300));
        let finished = running.finish();
        assert!(
            finished.out.contains("trading_alerts_total") && finished.err.contains("desk_detail"),
            "{act:?}"
        );
    }
    let mut files = Vec::new();
    every_file(service.folder(), &mut files);
    assert!(
        files.iter().any(|file| file.extension().is_some_and(|extension| extension == "redb")),
        "{files:?}"
    );
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let has = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        for secret in [slack::SECRET, slack::PATH, telegram::SECRET, telegram::TOKEN] {
            assert!(!has(secret), "{secret} in {}", file.display());
        }
    }
}

fn every_file(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { every_file(&path, files) } else { files.push(path) }
    }
}

#[test]
fn a_start_refuses_rules_and_channels_that_cannot_work_and_says_what_to_write() {
    let service: Service = service(|| match init_telemetry() {
        Ok(_) => println!("started"),
        Err(error) => println!("Error: {error:?}"),
    })
    .file("config/alerts.yaml", "");
    let refused = |expected: &[&str], variables: &[(&str, &str)]| {
        let out = service.run(variables).out;
        let is_refused = out.contains("Error: ") && expected.iter().all(|words| out.contains(words));
        assert!(is_refused, "{expected:?} are not all in\n{out}");
        assert!(!out.contains("s3cr3t"), "{out}");
    };
    for (rules, expected) in [
        ("rules: {", &["config/alerts.yaml:1:"][..]),
        ("rules: [1]", &["config/alerts.yaml:1:", "`rules`"]),
        ("ruls: {}", &["config/alerts.yaml:1:1", "did you mean `rules`"]),
        ("rules:\n  drawdwn: {warning: 5}", &["config/alerts.yaml:2:", "metric"]),
        (
            "rules:\n  x: {metric: trading_pdt_trades_usd, when: above, warning: 1}",
            &[
                "config/alerts.yaml:2:",
                "unknown metric `trading_pdt_trades_usd`",
                "did you mean `trading_pdt_trades_used`",
            ],
        ),
        ("rules:\n  drawdown: {warning: 9 %}", &["config/alerts.yaml:2:"]),
        ("rules:\n  drawdown: {warning: {level: 5 %, recovers: 6 %}}", &["config/alerts.yaml:2:"]),
        ("rules:\n  drawdown: {warning: 5 ms}", &["config/alerts.yaml:2:"]),
        ("rules:\n  psi: {warning: .nan}", &["config/alerts.yaml:2:"]),
        (
            "rules:\n  psi: {missing: maybe}",
            &["config/alerts.yaml:2:18", "write `keep`, `alert` or `resolve`"],
        ),
        ("rules:\n  psi: {repeat: {critical: 0s}}", &["config/alerts.yaml:2:", "never"]),
        ("rules:\n  psi: {channels: [pager]}", &["config/alerts.yaml:2:", "pager"]),
        ("rules:\n  psi: {title: '{valu}'}", &["config/alerts.yaml:2:"]),
        ("rules:\n  psi: {labels: ['model=\"a\"']}", &["config/alerts.yaml:2:", "model"]),
        ("rules:\n  kill_switch: {enabled: false}", &["config/alerts.yaml:2:", "cannot be switched off"]),
        ("rules:\n  psi: {warning: 0.1}\n  psi: {warning: 0.1}", &["config/alerts.yaml:3:", "psi"]),
        (
            "rules:\n  psi: {message: 'https://hooks.slack.com/services/T0/B0/s3cr3ts3cr3ts3cr3t'}",
            &["config/alerts.yaml:2:"],
        ),
    ] {
        std::fs::write(service.folder().join("config/alerts.yaml"), rules).unwrap();
        refused(expected, &[]);
    }
    let latin_1 = b"rules:\n  psi: {title: \"Drift \xe9\"}\n";
    std::fs::write(service.folder().join("config/alerts.yaml"), latin_1).unwrap();
    refused(&["config/alerts.yaml:2:23: not valid UTF-8: write"], &[]);
    std::fs::write(service.folder().join("config/alerts.yaml"), "").unwrap();
    refused(&["can", "config"], &[("SA_ALERTS__RULES_FILE", "config")]);
    refused(&["slack"], &[("SLACK_WEBHOOK_URL", "http://hooks.example.com/services/s3cr3t")]);
    refused(&["slack"], &[("SLACK_WEBHOOK_URL", "hooks.slack.com s3cr3t")]);
    refused(&["telegram"], &[("TELEGRAM_BOT_TOKEN", "no token: s3cr3t"), ("TELEGRAM_CHAT_ID", "4711")]);
    refused(&["heartbeat"], &[("SA_ALERTS__HEARTBEAT_URL", "ftp://example.com/s3cr3t")]);
    refused(
        &["TELEGRAM_CHAT_ID"],
        &[("SA_ALERTS__CHANNELS", "telegram"), ("TELEGRAM_BOT_TOKEN", telegram::TOKEN)],
    );
    assert!(log_lines(service.folder(), "desk").is_empty());
}

#[test]
fn no_filter_of_the_log_removes_an_alert_from_it() {
    let service = service(|| {
        obedient();
    });
    for filter in ["off", "trading_telemetry=off", "error"] {
        let mut running = service.start(&[("RUST_LOG", filter)]);
        running.tell(&format!("critical Margin call under {filter}"));
        running.tell("psi 0.15");
        running.finish();
    }
    let log = service.log();
    let levels: Vec<_> = events(&log, "alert").iter().map(|line| line["level"].clone()).collect();
    let count = |level: &str| levels.iter().filter(|known| **known == level).count();
    assert_eq!((count("error"), count("warning")), (3, 1), "{levels:?}");
}

#[test]
fn an_alert_to_a_channel_that_does_not_exist_goes_to_every_channel() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack);
    let mut running = service.start(&[]);
    running.tell("slak Margin call");
    running.tell("slak Order rejected");
    seen(&slack, 2);
    let log = running.finish().log;
    let [warning] = events(&log, "alert_channel_unknown")[..] else { panic!("{log:?}") };
    assert_eq!((&warning["channel"], &warning["channels"]), (&json!("slak"), &json!("log, slack")));
}

#[test]
fn information_is_worth_sending_as_long_as_the_settings_say() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack).variable("SA_ALERTS__TTL__INFO_SECONDS", "1");
    slack.fake.always(Act::status(500, "away"));
    let mut running = service.start(&[]);
    running.tell("info Model retrained");
    running.tell("psi 0.15");
    sleep(Duration::from_secs(3));
    slack.fake.always(Act::Honest);
    seen(&slack, 1);
    nothing_but(&slack, &["\u{26a0}\u{fe0f} WARNING: Model Drift"]);
    running.finish();
}

#[test]
fn a_channel_that_comes_into_use_hears_of_what_is_open() {
    let service = service(|| {
        obedient();
    });
    let slack = FakeSlack::start();
    let service = service.variable("SA_ALERTS__EVALUATION_INTERVAL_SECONDS", "0.1");
    let mut running = service.start(&[]);
    running.tell("psi 0.15");
    eventually("the incident", || {
        events(&service.log(), "alert").iter().any(|line| line["rule"] == "psi").then_some(())
    });
    running.tell(&format!("slack {}", slack.webhook_url()));
    seen(&slack, 1);
    running.tell("psi 0.01");
    seen(&slack, 2);
    nothing_but(&slack, &["🔁 STILL WARNING: Model Drift", "✅ RESOLVED: Model Drift"]);
    running.finish();
}
