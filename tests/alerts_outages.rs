//! Channels that are down, processes that are killed, figures that nobody records: nothing is lost, and nobody is spammed.
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

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use desk::{fact, headline, nothing_but, seen, text, with_slack};
use fake::Act;
use process::{Running, Service, eventually, free_port, service, told, until_told};
use slack::FakeSlack;
use trading_telemetry::alerts::event::{AlertSeverity, MetadataValue};
use trading_telemetry::opentelemetry::KeyValue;
use trading_telemetry::{PortfolioSnapshot, Telemetry, init_telemetry};

const NO_METADATA: [(&str, MetadataValue); 0] = [];

fn record_drawdown(telemetry: &Telemetry, drawdown_pct: f64) {
    telemetry.metrics().portfolio().record(&PortfolioSnapshot {
        equity_dollars: 100_000.0,
        cash_dollars: 50_000.0,
        positions: 3,
        daily_pnl_dollars: 0.0,
        daily_pnl_pct: 0.0,
        drawdown_pct,
    });
}

fn open_incidents(telemetry: &Telemetry) -> Vec<(String, Option<AlertSeverity>)> {
    telemetry.alerts().open_incidents().into_iter().map(|open| (open.rule, open.severity)).collect()
}

#[test]
fn a_channel_that_was_down_gets_one_message_that_tells_the_whole_story() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        for (drawdown, severity) in
            [(6.0, Some(AlertSeverity::Warning)), (9.0, Some(AlertSeverity::Critical)), (3.0, None)]
        {
            record_drawdown(&telemetry, drawdown);
            let expected: Vec<_> =
                severity.map(|severity| ("drawdown".to_owned(), Some(severity))).into_iter().collect();
            eventually("the state", || (open_incidents(&telemetry) == expected).then_some(()));
            // A try or two in each state.
            sleep(Duration::from_secs(1));
        }
        println!("over");
        until_told();
        telemetry.shutdown().unwrap();
    });
    let slack = FakeSlack::start();
    slack.fake.always(Act::status(503, "service_unavailable"));
    let service = with_slack(service, &slack);
    let running = service.start(&[]);
    eventually("the end of the incident", || running.output().contains("over").then_some(()));
    let tries = slack.fake.arrivals();
    assert!(!tries.is_empty() && tries.iter().all(|arrival| !arrival.accepted));
    slack.fake.always(Act::Honest);

    let story = seen(&slack, 1).remove(0);
    assert!(headline(&story).ends_with("✅ RESOLVED: Portfolio Drawdown"), "{}", headline(&story));
    let told = text(&story);
    let at: Vec<_> = ["opened", "critical", "resolved", "worst 9"].map(|word| told.find(word)).into();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{at:?} in {told}");
    assert_eq!(fact(&story, "Service").as_deref(), Some("desk"));
    assert!(fact(&story, "Instance").is_some(), "{told}");
    nothing_but(&slack, &[&headline(&story)]);
    running.finish();
}

#[test]
fn a_pause_that_slack_asked_for_outlives_a_kill() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        if told() == "send" {
            telemetry.alerts().send_alert(
                AlertSeverity::Critical,
                "Margin call",
                "Call the broker",
                NO_METADATA,
            );
        }
        until_told();
        let _ = telemetry.shutdown();
    });
    let slack = FakeSlack::start();
    slack.fake.script([Act::slow_down(7)]);
    // At the pace that Slack asks for.
    let service = service.variable("SLACK_WEBHOOK_URL", &slack.webhook_url());
    let mut running = service.start(&[]);
    running.tell("send");
    let refused = eventually("a refusal", || slack.fake.arrivals().first().map(|arrival| arrival.at));
    sleep(Duration::from_secs(2));
    running.kill();

    let mut running = service.start(&[]);
    running.tell("nothing");
    let accepted = seen(&slack, 1).remove(0);
    let waited = accepted.at - refused;
    assert!(waited >= Duration::from_secs(7), "{waited:?}");
    assert!(headline(&accepted).ends_with("CRITICAL: Margin call"), "{}", headline(&accepted));
    assert_eq!(slack.fake.arrivals().len(), 2, "nothing in the pause");
    nothing_but(&slack, &[&headline(&accepted)]);
    running.finish();
}

#[test]
fn two_processes_of_one_service_that_are_killed_lose_nothing() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let name = told();
        if !name.is_empty() {
            telemetry.alerts().send_alert(AlertSeverity::Critical, name, "Call the broker", NO_METADATA);
        }
        until_told();
        telemetry.shutdown().unwrap();
    });
    let slack = FakeSlack::start();
    slack.fake.always(Act::Reset);
    let service = with_slack(service, &slack);
    let other = free_port().to_string();
    let mut first = service.start(&[]);
    let mut second = service.start(&[("SA_MONITORING__PROMETHEUS_PORT", &other)]);
    first.tell("First");
    second.tell("Second");
    for name in ["First", "Second"] {
        let name = format!("\u{26a0}\u{fe0f} CRITICAL: {name}");
        eventually("two tries", || {
            (slack.fake.arrivals().iter().filter(|arrival| headline(arrival) == name).count() >= 2)
                .then_some(())
        });
    }
    first.kill();
    second.kill();
    let files = std::fs::read_dir(service.folder().join("state")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(files.iter().filter(|file| file.rsplit('.').next() == Some("redb")).count() >= 2, "{files:?}");

    slack.fake.always(Act::Honest);
    let third = service.start(&[]);
    let mut headlines: Vec<_> = seen(&slack, 2).iter().map(headline).collect();
    headlines.sort();
    assert!(headlines[0].ends_with("First") && headlines[1].ends_with("Second"), "{headlines:?}");
    sleep(Duration::from_secs(1));
    assert_eq!(slack.fake.accepted().len(), 2);
    third.finish();
}

/// How many alerts and incidents a process of the next test raises, half of each.
const EACH: usize = 50;
const ROUNDS: usize = 10;

#[test]
fn five_hundred_alerts_and_incidents_reach_people_past_a_kill_in_each_round() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let round = std::env::var("ROUND").unwrap();
        let depth = telemetry.meter("desk").f64_gauge("desk.queue_depth").build();
        if round != "last" {
            for number in 0..EACH / 2 {
                let title = format!("Alert {round}-{number}");
                telemetry.alerts().send_alert(AlertSeverity::Critical, title, "Call the broker", NO_METADATA);
                depth.record(500.0, &[KeyValue::new("queue", format!("{round}-{number}"))]);
            }
            let of_this_round = |(_, queue): &(String, String)| queue.starts_with(&format!("{round}-"));
            eventually("the incidents", || {
                let open = telemetry.alerts().open_incidents();
                let new = open.iter().filter(|open| open.labels.iter().any(of_this_round)).count();
                (new == EACH / 2).then_some(())
            });
        }
        println!("raised");
        until_told();
        telemetry.shutdown().unwrap();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack)
        // So that a kill finds most of them unsent.
        .variable("SA_ALERTS__SLACK__PACE_PER_SECOND", "25")
        .variable("SA_ALERTS__SLACK__BURST", "1")
        .file(
            "config/alerts.yaml",
            "metrics: {desk_queue_depth: {type: gauge, labels: [queue]}}\n\
             rules: {queue: {metric: desk_queue_depth, when: above, critical: 100, title: 'Queue {label.queue}'}}\n",
        );
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    for round in 0..ROUNDS {
        let running: Running = service.start(&[("ROUND", &round.to_string())]);
        eventually("the round", || running.output().contains("raised").then_some(()));
        // What was raised is on disk within a few hundred milliseconds; then any moment is a good one.
        let random = (u64::from(seed) >> round) % 700;
        sleep(Duration::from_millis(800 + random));
        running.kill();
    }
    let running = service.start(&[("ROUND", "last")]);
    let titles = |service: &FakeSlack| -> BTreeMap<String, usize> {
        let mut titles = BTreeMap::new();
        for arrival in service.fake.accepted() {
            let headline = headline(&arrival);
            *titles.entry(headline.rsplit_once(": ").unwrap().1.to_owned()).or_default() += 1;
        }
        titles
    };
    let titles =
        eventually("all of them", || Some(titles(&slack)).filter(|titles| titles.len() >= EACH * ROUNDS));
    for round in 0..ROUNDS {
        for number in 0..EACH / 2 {
            for kind in ["Alert", "Queue"] {
                let title = format!("{kind} {round}-{number}");
                assert!(titles.contains_key(&title), "{title} is lost");
            }
        }
    }
    let repeated: Vec<_> = titles.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.len() <= ROUNDS, "one in flight for each kill, not {repeated:?}");
    assert!(repeated.iter().all(|(_, times)| **times == 2), "{repeated:?}");
    assert_eq!(slack.problems(), Vec::<String>::new());
    running.finish();
}

const TRADES: u32 = 20_000;

#[test]
fn a_line_of_the_audit_trail_that_is_lost_is_a_critical_alert_and_counted() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        assert_eq!(told(), "trade");
        // More in a moment than the smallest queue holds.
        for _ in 0..TRADES {
            telemetry.audit().pdt_day_trade_recorded("AAPL", 1);
        }
        println!("traded");
        until_told();
        telemetry.shutdown().unwrap_err();
    });
    let slack = FakeSlack::start();
    let service = with_slack(service, &slack)
        .variable("SA_LOGGING__QUEUE_LINES", "16")
        .variable("SA_LOGGING__AUDIT_FILE", "{service}.audit.log");
    let mut running = service.start(&[]);
    eventually("a start", || process::events(&service.log(), "telemetry_started").pop().map(|_| ()));
    nothing_but(&slack, &[]);
    running.tell("trade");
    let alert = seen(&slack, 1).remove(0);
    assert_eq!(headline(&alert), "\u{26a0}\u{fe0f} CRITICAL: Audit Lines Lost");
    assert!(text(&alert).contains("check the log's disk and queue"), "{}", text(&alert));
    let told: f64 = fact(&alert, "Lines Lost Since Start").unwrap().parse().unwrap();
    eventually("the last trade", || running.output().contains("traded").then_some(()));
    let scrape = http::scrape(service.port());
    let lost = http::value(&scrape, "trading_telemetry_audit_lost_total").unwrap();
    assert!(told >= 1.0 && lost >= told, "{told} told of {lost}");
    let trail = service.folder().join("logs/desk.audit.log");
    eventually("each line in the trail or counted", || {
        let lines = std::fs::read_to_string(&trail).unwrap();
        // The log says in its own words what is missing: those lines are no trades.
        let trades = lines.lines().filter(|line| line.contains("pdt_day_trade_recorded"));
        let kept = u32::try_from(trades.count()).unwrap();
        ((f64::from(kept) + lost - f64::from(TRADES)).abs() < 0.5).then_some(())
    });
    running.finish();
}

#[test]
fn figures_that_nobody_records_while_the_market_is_open_are_one_stale_alert() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        record_drawdown(&telemetry, 3.0);
        // And here the portfolio monitor hangs; the process does not.
        assert_eq!(told(), "go on");
        record_drawdown(&telemetry, 3.0);
        until_told();
        telemetry.shutdown().unwrap();
    });
    let slack = FakeSlack::start();
    let missing = "{missing: {then: alert, after: 2s, only_in_hours: true}}";
    let service: Service = with_slack(service, &slack)
        .file("config/alerts.yaml", &format!("rules: {{drawdown: {missing}, daily_pnl: {missing}}}\n"))
        .settings(
            "health:\n  hours: {timezone: UTC, days: [mon, tue, wed, thu, fri, sat, sun], open: '12:00', close: '11:59'}\n",
        );
    let begin = Instant::now();
    let mut running = service.start(&[]);
    let stale = seen(&slack, 1).remove(0);
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(fact(&stale, "Reason").as_deref(), Some("stale"), "{}", text(&stale));
    assert!(
        text(&stale).contains("and the other portfolio figures have not been recorded"),
        "{}",
        text(&stale)
    );
    sleep(Duration::from_secs(4));
    nothing_but(&slack, &[&headline(&stale)]);
    running.tell("go on");
    let both = seen(&slack, 2);
    assert_eq!(fact(&both[0], "Incident"), fact(&both[1], "Incident"));
    assert!(headline(&both[1]).starts_with("✅ RESOLVED: "), "{}", headline(&both[1]));
    running.finish();
}
