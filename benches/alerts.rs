//! Alerts: evaluating the rules, waking the engine, the way of a change to a POST, and what hung channels cost others.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and says what it saw"
)]

#[path = "support/child.rs"]
mod child;
#[path = "support/desk.rs"]
mod desk;
#[path = "support/mirror.rs"]
mod mirror;
#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use child::desk as service;
use criterion::Criterion;
use desk::{Scraper, fill, samples};
use mirror::{Model, Otel};
use opentelemetry::KeyValue;
use receiver::{Answer, Channel};
use tokio::sync::Notify;
use trading_telemetry::alerts::event::AlertSeverity;
use trading_telemetry::health::Report;
use trading_telemetry::testing::TestTelemetry;
use trading_telemetry::{OrderStatus, OrderType, Side, Telemetry, TelemetryBuilder};

/// A rule with a series for each queue.
const QUEUES: &str = "\
metrics: {desk_queue_depth: {type: gauge, labels: [queue]}}
rules: {queue: {metric: desk_queue_depth, when: above, warning: 1000, title: 'Queue {label.queue}'}}
";
/// A broker that is back is back at once, so that it can go down again in the next moment.
const BROKER: &str = "rules: {broker: {critical: {level: 1, for: 2s, keep_firing_for: 0s}}}\n";

fn main() {
    match child::part().as_deref() {
        Some("wake") => return wake(),
        Some("kill_switch") => return kill_switch(false),
        Some("crowded") => return kill_switch(true),
        Some("broker") => return broker(),
        Some("healthy") => return beside("healthy", Answer::Slack, Answer::Telegram),
        Some("hung") => return beside("hung", Answer::Hangs, Answer::Hangs),
        Some(part) => panic!("no part {part}"),
        None => {}
    }
    let mut criterion = support::criterion();
    evaluation(&mut criterion);
    criterion.final_summary();
    child::run("wake", "");
    child::run("kill_switch", "");
    child::run("crowded", QUEUES);
    child::run("broker", BROKER);
    child::run("healthy", "");
    child::run("hung", "");
}

/// All rules over 2,000 series: once where the built-in rules pick theirs out, once where a rule watches each of them.
fn evaluation(criterion: &mut Criterion) {
    for (group, watched) in [("evaluate", false), ("evaluate_watched", true)] {
        let telemetry = TestTelemetry::builder().max_strategies(128).alert_rules(QUEUES).build();
        if watched {
            let depth = telemetry.meter("desk").f64_gauge("desk.queue_depth").build();
            // The default cardinality limit of the SDK is 2,000; the catalogue's own make up the rest.
            for queue in 0_i32..1_850 {
                depth.record(
                    f64::from(queue % 500),
                    &[KeyValue::new("queue", Arc::<str>::from(format!("queue{queue}")))],
                );
            }
        } else {
            fill(telemetry.metrics(), 2_000, || telemetry.scrape());
        }
        let scrape = telemetry.scrape();
        println!("{group}: {} samples", samples(&scrape));
        let mut otel = Otel::new(&Model::of(&scrape));
        let mut group = criterion.benchmark_group(group);
        group.bench_function("ours", |bencher| {
            bencher.iter(|| {
                telemetry.clock().advance(Duration::from_secs(1));
                telemetry.evaluate_alerts()
            });
        });
        group.bench_function("collect", |bencher| bencher.iter(|| otel.collect()));
        group.finish();
    }
}

/// What a change costs its caller while the engine sleeps, beside a notification of a runtime that is parked.
fn wake() {
    let telemetry = service().set("alerts.flapping.changes", "10000").init().expect("it starts");
    let notify = Arc::new(Notify::new());
    let woken = Arc::clone(&notify);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            loop {
                woken.notified().await;
            }
        });
    });
    let (mut peer, mut changes, mut alerts) = (Vec::new(), Vec::new(), Vec::new());
    for event in 0..support::events(200) {
        peer.push(once_asleep(|| notify.notify_one()));
        changes.push(once_asleep(|| telemetry.metrics().risk().kill_switch(event % 2 == 0)));
        let message = format!("run {event}");
        alerts.push(once_asleep(|| {
            let accuracy = [("accuracy", 0.58.into())];
            telemetry.alerts().send_alert(AlertSeverity::Info, "Model retrained", message.as_str(), accuracy);
        }));
    }
    support::keep("wake/notify", peer);
    support::keep("wake/kill_switch", changes);
    support::keep("wake/send_alert", alerts);
    end(&telemetry);
}

/// The time of a call, after a pause in which whoever it wakes has gone to sleep.
fn once_asleep(call: impl FnOnce()) -> Duration {
    sleep(Duration::from_millis(3));
    let began = Instant::now();
    call();
    began.elapsed()
}

/// With these channels, as fast as they like.
fn with(builder: TelemetryBuilder, slack: &Channel, telegram: Option<&Channel>) -> TelemetryBuilder {
    let mut builder = builder
        .set("alerts.slack.webhook_url", format!("{}/services/T00000000/B00000000/XXhookXX", slack.url))
        .set("alerts.flapping.changes", "10000")
        .set("alerts.queue_messages", "5000");
    if let Some(telegram) = telegram {
        builder = builder
            .set("alerts.telegram.bot_token", "123456789:AAtokenAA")
            .set("alerts.telegram.chat_id", "4711")
            .set("alerts.telegram.api_base_url", telegram.url.as_str());
    }
    for channel in ["slack", "telegram"] {
        builder = builder
            .set(format!("alerts.{channel}.pace_per_second"), "1000")
            .set(format!("alerts.{channel}.burst"), "1000");
    }
    builder
}

/// From the kill switch to its POST; crowded, beside a hung Telegram and a thousand open incidents.
fn kill_switch(crowded: bool) {
    let slack = Channel::start(Answer::Slack);
    let telegram = crowded.then(|| Channel::start(Answer::Hangs));
    let telemetry = with(service(), &slack, telegram.as_ref()).init().expect("it starts");
    if crowded {
        let depth = telemetry.meter("desk").f64_gauge("desk.queue_depth").build();
        for queue in 0_i32..1000 {
            depth.record(5000.0, &[KeyValue::new("queue", i64::from(queue))]);
        }
        for _ in 0..1000 {
            slack.next("WARNING: Queue");
        }
    }
    let mut times = Vec::new();
    for event in 0..support::events(200) {
        let began = Instant::now();
        telemetry.audit().kill_switch_on(&format!("VIX > {event}"), [("vix", 38.5.into())]);
        times.push(slack.next("CRITICAL: Kill Switch Activated") - began);
        telemetry.audit().kill_switch_off("all clear");
        slack.next("RESOLVED: Kill Switch Activated");
    }
    support::keep(if crowded { "post/kill_switch_crowded" } else { "post/kill_switch" }, times);
    end(&telemetry);
}

/// From a broker session that reports itself down to the POST.
fn broker() {
    let slack = Channel::start(Answer::Slack);
    let telemetry = with(service(), &slack, None).init().expect("it starts");
    telemetry.health().declare("broker", true);
    telemetry.health().report("broker", Report::Up);
    let mut times = Vec::new();
    for _ in 0..support::events(200) {
        let began = Instant::now();
        telemetry.health().report("broker", Report::Down("session lost"));
        times.push(slack.next("CRITICAL: Broker Connection Lost") - began);
        telemetry.health().report("broker", Report::Up);
        slack.next("RESOLVED: Broker Connection Lost");
    }
    support::keep("post/broker", times);
    end(&telemetry);
}

/// What everything else costs beside channels that answer, or hang with a queue behind them.
fn beside(name: &str, slack: Answer, telegram: Answer) {
    let (slack, telegram) = (Channel::start(slack), Channel::start(telegram));
    let builder = service().set("alerts.evaluation_interval_seconds", "0.05");
    let telemetry = with(builder, &slack, Some(&telegram)).init().expect("it starts");
    let mut scraper = Scraper::new(&telemetry);
    fill(telemetry.metrics(), 2_000, || scraper.text());
    let alert = |number: usize| {
        let message = format!("run {number}");
        let accuracy = [("accuracy", 0.58.into())];
        let began = Instant::now();
        telemetry.alerts().send_alert(AlertSeverity::Warning, "Model retrained", message, accuracy);
        began.elapsed()
    };
    for number in 0..500 {
        alert(number);
    }
    slack.next("run 0");
    sleep(Duration::from_millis(500));

    let swing = telemetry.metrics().strategy("Strategy0001");
    let (mut orders, mut answers, mut evaluations, mut alerts) = (vec![], vec![], vec![], vec![]);
    for event in 0..support::events(40) {
        sleep(Duration::from_millis(50));
        let began = Instant::now();
        for _ in 0..10_000 {
            swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
        }
        orders.push(began.elapsed());
        let began = Instant::now();
        scraper.get("");
        answers.push(began.elapsed());
        let text = scraper.text();
        let duration = "trading_alert_evaluation_duration_seconds ";
        let seconds = text.lines().find_map(|line| line.strip_prefix(duration)).expect("it is on the scrape");
        evaluations.push(Duration::from_secs_f64(seconds.parse().expect("a number")));
        alerts.extend((0..5).map(|number| {
            sleep(Duration::from_millis(3));
            alert(1000 + event * 5 + number)
        }));
    }
    support::keep(&format!("{name}/record"), orders);
    support::keep(&format!("{name}/scrape"), answers);
    support::keep(&format!("{name}/evaluate"), evaluations);
    support::keep(&format!("{name}/send_alert"), alerts);
    end(&telemetry);
}

/// What is still unsent is of no interest.
fn end(telemetry: &Telemetry) {
    drop(telemetry.shutdown_within(Duration::from_millis(100)));
}
