//! How alerts are delivered, in paused time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, advance, sleep};
use trading_telemetry::alerts::channels::{Channel, Failure, Outcome};
use trading_telemetry::alerts::delivery::{Delivery, DeliveryResult, DeliverySettings, Pace, Routes};
use trading_telemetry::alerts::event::EventKind::{
    DeEscalated, Escalated, Opened, Reminded, Resolved, Updated,
};
use trading_telemetry::alerts::event::{Event, EventKind};
use trading_telemetry::alerts::outbox::{Opened as Outboxed, Outbox};

mod support {
    pub mod alerts;
}
use support::alerts::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn down() -> Outcome {
    Outcome::TryAgain(Failure::new("could not connect"))
}

fn dead() -> Outcome {
    Outcome::Dead(Failure::new("status 403"))
}

fn unclear() -> Outcome {
    Outcome::Unclear(Failure::new("status 400"))
}

fn start(settings: DeliverySettings, channels: &[&Arc<Scripted>]) -> Delivery {
    start_with(settings, channels, TokioClock::new())
}

fn start_with(settings: DeliverySettings, channels: &[&Arc<Scripted>], clock: Arc<TokioClock>) -> Delivery {
    let channels = channels.iter().map(|channel| Arc::clone(channel) as Arc<dyn Channel>).collect();
    Delivery::start(settings, channels, Outbox::in_memory(), &Outboxed::default(), clock)
}

fn count(delivery: &Delivery, channel: &str, result: DeliveryResult) -> u64 {
    let stats = delivery.stats().into_iter().find(|stats| stats.name() == channel).unwrap();
    [Critical, Warning, Info].into_iter().map(|severity| stats.count(severity, result)).sum()
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_one_message_tells_the_whole_story() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(state("1", Opened, Warning, "10:01:02"));
    sleep(3 * SECOND).await;
    delivery.submit(state("1", Escalated, Critical, "10:01:05"));
    sleep(20 * SECOND).await;
    delivery.submit(state("1", Reminded, Critical, "10:01:30"));
    delivery.submit(state("1", Resolved, Critical, "10:01:40"));
    sleep(10 * MINUTE).await;
    assert_eq!(slack.accepted().len(), 0);
    assert_eq!(delivery.queues()[0].1.length, 1, "forty states of one incident are one message");

    slack.always(Outcome::Accepted);
    sleep(2 * MINUTE).await;
    let told = slack.accepted();
    assert_eq!(told.len(), 1, "{told:#?}");
    let text = told[0].text();
    assert!(text.contains("opened 10:01:02, critical 10:01:05, resolved 10:01:40, worst 8.4 %"), "{text}");
    assert!(text.starts_with(r#"{"text": "[DELAYED 1"#), "{text}");
    assert!(text.contains("✅ RESOLVED: Drawdown"), "{text}");
    assert_eq!(count(&delivery, "slack", DeliveryResult::Sent), 1);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Deduplicated), 3);
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_a_message_is_in_flight_is_told_after_it() {
    let slack = Scripted::new("slack");
    slack.take(5 * SECOND);
    slack.script([Outcome::Accepted]);
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(state("1", Opened, Warning, "10:01:02"));
    sleep(SECOND).await;
    delivery.submit(state("1", Escalated, Critical, "10:01:05"));
    delivery.submit(state("1", DeEscalated, Warning, "10:01:06"));
    sleep(MINUTE).await;
    let kinds: Vec<_> = slack.accepted().iter().map(|sent| sent.notice.event.kind).collect();
    assert_eq!(kinds, [Opened, DeEscalated]);
    assert!(slack.accepted()[1].text().contains("critical 10:01:05, warning 10:01:06"));

    // When the one in flight fails, both are one message.
    slack.script([down()]);
    delivery.submit(state("2", Opened, Warning, "11:00:00"));
    sleep(SECOND).await;
    delivery.submit(state("2", Resolved, Warning, "11:00:01"));
    sleep(MINUTE).await;
    let told = slack.accepted();
    assert_eq!(told.len(), 3);
    assert!(told[2].text().contains("opened 11:00:00, resolved 11:00:01"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_reminded_of_what_was_never_said() {
    let slack = Scripted::new("slack");
    slack.script([down()]);
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(state("1", Opened, Critical, "10:01:02"));
    delivery.submit(state("1", Reminded, Critical, "10:31:02"));
    sleep(MINUTE).await;
    assert_eq!(slack.accepted().len(), 1);
    assert!(slack.accepted()[0].text().contains("CRITICAL: Drawdown"));
    assert!(!slack.accepted()[0].text().contains("STILL"));
}

#[tokio::test(start_paused = true)]
async fn a_429_pauses_the_whole_channel_and_is_no_failed_attempt() {
    let slack = Scripted::new("slack");
    slack.script([Outcome::SlowDown(Some(7 * SECOND))]);
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(direct(Warning, "first"));
    sleep(SECOND).await;
    delivery.submit(direct(Critical, "urgent"));
    sleep(MINUTE).await;
    let sent = slack.sent();
    assert_eq!(sent.len(), 3);
    let pause = sent[1].at - sent[0].at;
    assert!((7 * SECOND..=8 * SECOND + SECOND / 10).contains(&pause), "{pause:?}");
    assert_eq!(slack.titles(), ["urgent", "first"]);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Retried), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_reason_is_cut() {
    let slack = Scripted::new("slack");
    slack.script([Outcome::SlowDown(Some(1000 * 60 * MINUTE))]);
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(61 * MINUTE).await;
    assert_eq!(slack.titles(), ["urgent"]);
}

#[tokio::test(start_paused = true)]
async fn order_holds_and_critical_overtakes() {
    let slack = Scripted::with_pace("slack", Pace::new(1, SECOND));
    let delivery = start(DeliverySettings::default(), &[&slack]);
    for number in 0..5 {
        delivery.submit(direct(if number % 2 == 0 { Warning } else { Info }, &format!("w{number}")));
    }
    delivery.submit(direct(Critical, "c0"));
    delivery.submit(direct(Critical, "c1"));
    sleep(MINUTE).await;
    assert_eq!(slack.titles(), ["c0", "c1", "w0", "w1", "w2", "w3", "w4"]);
    let times: Vec<Instant> = slack.sent().iter().map(|sent| sent.at).collect();
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(998), "the pace holds: {times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_token_is_kept_for_a_critical_message() {
    let slack = Scripted::with_pace("slack", Pace::new(5, 60 * SECOND));
    let delivery = start(DeliverySettings::default(), &[&slack]);
    for number in 0..10 {
        delivery.submit(direct(Warning, &format!("w{number}")));
    }
    sleep(SECOND).await;
    assert_eq!(slack.titles(), ["w0", "w1", "w2"]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    assert_eq!(slack.titles().last().map(String::as_str), Some("urgent"));
}

/// A state of the kill switch's incident.
fn kill_switch(kind: EventKind) -> Event {
    let mut event = state("k", kind, Critical, "10:01:02");
    (event.rule, event.title) = (Some("kill_switch".into()), "Kill Switch Activated".into());
    event
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_is_posted_at_once_in_the_longest_flood_of_critical_messages() {
    // As a group in Telegram, where a token takes three seconds.
    let telegram = Scripted::with_pace("telegram", Pace::new(3, SECOND).and(20, 3 * SECOND));
    let delivery = start(DeliverySettings::default(), &[&telegram]);
    for number in 0..1000 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    sleep(10 * MINUTE).await;
    let before = telegram.sent().len();
    assert!(before < 300, "the flood still waits: {before}");
    let tripped = Instant::now();
    delivery.submit(kill_switch(Opened));
    sleep(SECOND).await;
    let opened = telegram.sent()[before].clone();
    assert_eq!(opened.title(), "Kill Switch Activated");
    assert!(opened.at - tripped < Duration::from_millis(10), "{:?}", opened.at - tripped);
    // What comes next of it has the next token.
    delivery.submit(kill_switch(Resolved));
    sleep(3 * SECOND).await;
    assert_eq!(telegram.sent()[before + 1].notice.event.kind, Resolved);
    sleep(MINUTE).await;
    assert!(telegram.sent().len() > before + 10, "the flood goes on");
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_is_first_after_a_ban_and_never_dropped_for_other_critical_messages() {
    let slack = Scripted::with_pace("slack", Pace::new(3, SECOND));
    slack.script([Outcome::SlowDown(Some(30 * SECOND))]);
    let settings = DeliverySettings { queue: 10, ..DeliverySettings::default() };
    let delivery = start(settings, &[&slack]);
    delivery.submit(direct(Critical, "banned"));
    sleep(SECOND).await;
    delivery.submit(kill_switch(Opened));
    for number in 0..100 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    sleep(MINUTE).await;
    assert_eq!(slack.titles()[0], "Kill Switch Activated");
}

#[tokio::test(start_paused = true)]
async fn a_hung_channel_delays_nobody() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    telegram.take(10_000 * MINUTE);
    let delivery = start(DeliverySettings::default(), &[&telegram, &slack]);
    let began = Instant::now();
    for number in 0..50 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    sleep(SECOND).await;
    let sent = slack.accepted();
    assert_eq!(sent.len(), 50);
    assert!(sent.iter().all(|sent| sent.at - began < SECOND));
    assert!(telegram.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_with_growing_waits() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(30 * MINUTE).await;
    let times: Vec<Instant> = slack.sent().iter().map(|sent| sent.at).collect();
    let waits: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= SECOND / 2 && waits[0] <= SECOND, "{waits:?}");
    let longest = waits.iter().max().unwrap();
    assert!(*longest > 30 * SECOND && *longest <= MINUTE + SECOND, "{waits:?}");
    assert!(waits[9..].iter().all(|wait| *wait >= 30 * SECOND), "{waits:?}");
    assert!(!delivery.stats()[1].is_up());
    slack.always(Outcome::Accepted);
    sleep(2 * MINUTE).await;
    assert_eq!(slack.titles(), ["urgent"]);
    assert!(delivery.stats()[1].is_up());
}

#[tokio::test(start_paused = true)]
async fn a_critical_message_does_not_wait_out_the_failures_before_it() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(direct(Warning, "warning"));
    sleep(20 * MINUTE).await;
    slack.always(Outcome::Accepted);
    let before = slack.sent().len();
    let began = Instant::now();
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    let sent = slack.sent();
    assert_eq!(sent[before].title(), "urgent");
    assert!(sent[before].at - began <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_critical_is_given_up_after_an_hour_and_critical_after_a_day() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(direct(Warning, "warning"));
    delivery.submit(direct(Critical, "urgent"));
    sleep(59 * MINUTE).await;
    assert_eq!(delivery.queues()[0].1.length, 2);
    sleep(3 * MINUTE).await;
    assert_eq!(delivery.queues()[0].1.length, 1);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Undeliverable), 1);
    sleep(23 * 60 * MINUTE).await;
    assert_eq!(count(&delivery, "slack", DeliveryResult::Undeliverable), 2);
    assert_eq!(delivery.queues()[0].1.length, 0);
}

/// What people see of incident `id`, as kinds.
fn kinds(channel: &Scripted) -> Vec<EventKind> {
    channel.accepted().iter().map(|sent| sent.notice.event.kind).collect()
}

#[tokio::test(start_paused = true)]
async fn what_still_holds_is_told_however_long_the_outage_was() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(state("1", Opened, Warning, "10:01:02"));
    sleep(70 * MINUTE).await;
    slack.always(Outcome::Accepted);
    sleep(2 * MINUTE).await;
    assert_eq!(kinds(&slack), [Opened]);
    delivery.submit(state("1", Resolved, Warning, "11:20:00"));
    sleep(SECOND).await;
    assert_eq!(kinds(&slack), [Opened, Resolved]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_critical_incident_is_worth_a_day_whatever_it_ended_from() {
    let slack = Scripted::new("slack");
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(state("1", Opened, Critical, "10:01:02"));
    sleep(SECOND).await;
    slack.always(down());
    delivery.submit(state("1", DeEscalated, Warning, "10:05:00"));
    delivery.submit(state("1", Resolved, Warning, "10:06:00"));
    sleep(23 * 60 * MINUTE).await;
    slack.always(Outcome::Accepted);
    sleep(2 * MINUTE).await;
    assert_eq!(kinds(&slack), [Opened, Resolved]);
}

#[tokio::test(start_paused = true)]
async fn what_began_and_ended_unseen_is_given_up_by_its_worst() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let delivery = start(DeliverySettings::default(), &[&slack]);
    for (incident, worst) in [("1", Warning), ("2", Critical)] {
        delivery.submit(state(incident, Opened, worst, "10:01:02"));
        delivery.submit(state(incident, Resolved, worst, "10:06:00"));
    }
    sleep(62 * MINUTE).await;
    assert_eq!(delivery.queues()[0].1.length, 1);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Undeliverable), 1);
    sleep(24 * 60 * MINUTE).await;
    assert_eq!(delivery.queues()[0].1.length, 0);
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_wall_clock_changes_nothing() {
    for hours in [-1, 1, -1000, 1000] {
        let slack = Scripted::new("slack");
        slack.script([Outcome::SlowDown(Some(30 * SECOND))]);
        let clock = TokioClock::new();
        let delivery = start_with(DeliverySettings::default(), &[&slack], Arc::clone(&clock));
        delivery.submit(direct(Warning, "warning"));
        sleep(SECOND).await;
        clock.jump(hours);
        sleep(28 * SECOND).await;
        assert_eq!(slack.titles().len(), 0, "the pause holds");
        sleep(4 * SECOND).await;
        assert_eq!(slack.titles(), ["warning"], "nothing expired, nothing waits longer");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_process_left_is_sent_by_the_next_one_however_the_wall_clock_jumped_between() {
    for hours in [-1000, 1, 1000] {
        let slack = Scripted::new("slack");
        slack.always(down());
        let (outbox, clock) = (Outbox::in_memory(), TokioClock::new());
        let next = || {
            let (channels, clock) = (vec![slack.clone() as Arc<dyn Channel>], Arc::clone(&clock));
            Delivery::start(
                DeliverySettings::default(),
                channels,
                outbox.clone(),
                &Outboxed::default(),
                clock,
            )
        };
        let killed = next();
        killed.submit(direct(Warning, "warning"));
        killed.submit(direct(Critical, "urgent"));
        killed.submit(state("1", Opened, Warning, "10:01:02"));
        sleep(SECOND).await;
        drop(killed);
        clock.jump(hours);
        let delivery = next();
        // The network is not there yet.
        sleep(30 * MINUTE).await;
        slack.always(Outcome::Accepted);
        sleep(2 * MINUTE).await;
        assert_eq!(slack.titles(), ["urgent", "warning", "Drawdown"]);
        assert!(slack.accepted().iter().all(|sent| sent.notice.delay.is_some()));
        drop(delivery);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_channel_is_told_to_the_others_probed_and_heals_by_itself() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    telegram.always(dead());
    let delivery = start(DeliverySettings::default(), &[&telegram, &slack]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    assert_eq!(slack.titles(), ["urgent", "Alert channel telegram is not delivering"]);
    assert!(slack.accepted()[1].text().contains("Reason: status 403"));
    assert_eq!(telegram.sent().len(), 1);
    sleep(35 * MINUTE).await;
    let probes: Vec<Instant> = telegram.sent().iter().map(|sent| sent.at).collect();
    assert_eq!(probes.len(), 4);
    assert!(probes.windows(2).all(|pair| pair[1] - pair[0] >= 10 * MINUTE));
    assert_eq!(slack.accepted().len(), 2, "told once");

    telegram.always(Outcome::Accepted);
    sleep(10 * MINUTE).await;
    assert_eq!(telegram.titles(), ["urgent"]);
    let last = slack.accepted().pop().unwrap();
    assert!(last.text().contains("✅ RESOLVED: Alert channel telegram is not delivering"), "{}", last.text());
}

#[tokio::test(start_paused = true)]
async fn a_refused_test_keeps_no_message_from_its_channel() {
    for refusal in [dead(), down()] {
        let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
        slack.script([refusal]);
        let delivery = start(DeliverySettings::default(), &[&slack, &telegram]);
        delivery.test_channel("slack").await.unwrap_err();
        assert!(delivery.stats()[1].is_up(), "it has refused no alert");
        delivery.submit(direct(Critical, "urgent"));
        sleep(SECOND / 10).await;
        assert_eq!(slack.titles(), ["urgent"]);
        assert_eq!(telegram.titles(), ["urgent"], "no trouble to tell of");
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_has_nothing_left_to_send_is_not_down_for_ever() {
    for failure in [dead(), down()] {
        let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
        slack.always(failure.clone());
        let delivery = start(DeliverySettings::default(), &[&slack, &telegram]);
        delivery.submit(direct(Critical, "urgent"));
        sleep(3 * MINUTE).await;
        assert_eq!(telegram.titles(), ["urgent", "Alert channel slack is not delivering"]);
        sleep(23 * 60 * MINUTE).await;
        assert!(!delivery.stats()[1].is_up());
        // The message is too old, and no other waits.
        sleep(72 * MINUTE).await;
        assert!(delivery.stats()[1].is_up(), "{failure:?}");
        let told = telegram.accepted();
        assert_eq!(told.len(), 3);
        assert_eq!(told[2].notice.event.kind, Resolved);
        assert!(told[2].text().contains("The next message will show"), "{}", told[2].text());

        // And the next one does.
        let requests = slack.sent().len();
        sleep(60 * MINUTE).await;
        assert_eq!(slack.sent().len(), requests, "nobody is sent a message for the sake of it");
        slack.always(Outcome::Accepted);
        delivery.submit(direct(Critical, "again"));
        sleep(SECOND / 10).await;
        assert_eq!(slack.titles(), ["again"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_channel_that_is_set_up_anew_is_over_once_it_has_taken_a_message() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    telegram.always(dead());
    let mut delivery = start(DeliverySettings::default(), &[&telegram, &slack]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    let trouble = "Alert channel telegram is not delivering";
    assert_eq!(slack.titles(), ["urgent", trouble]);

    // The new one is as dead as the old one: nothing new to say.
    delivery.replace_channels(vec![telegram.clone(), slack.clone()]);
    sleep(SECOND).await;
    assert_eq!(telegram.sent().len(), 2, "it is tried at once");
    assert_eq!(slack.titles(), ["urgent", trouble]);

    telegram.always(Outcome::Accepted);
    delivery.replace_channels(vec![telegram.clone(), slack.clone()]);
    sleep(SECOND).await;
    assert_eq!(telegram.titles(), ["urgent"]);
    let told = slack.accepted();
    assert_eq!(
        told.iter().map(support::alerts::Sent::title).collect::<Vec<_>>(),
        ["urgent", trouble, trouble]
    );
    assert_eq!(
        (told[2].notice.event.kind, &told[2].notice.event.incident),
        (Resolved, &told[1].notice.event.incident)
    );
    assert!(delivery.stats().iter().all(|stats| stats.is_up()));

    // And without it, nobody waits for its recovery.
    telegram.always(dead());
    delivery.submit(direct(Critical, "again"));
    sleep(SECOND).await;
    delivery.replace_channels(vec![slack.clone()]);
    sleep(SECOND).await;
    let last = slack.accepted().pop().unwrap();
    assert!(last.text().contains("✅ RESOLVED: Alert channel telegram"), "{}", last.text());
    assert!(last.text().contains("not configured any more"), "{}", last.text());
}

#[tokio::test(start_paused = true)]
async fn a_new_channel_leaves_the_others_as_they_were() {
    let (slack, telegram) = (Scripted::with_pace("slack", Pace::new(1, SECOND)), Scripted::new("telegram"));
    slack.take(SECOND);
    let mut delivery = start(DeliverySettings::default(), &[&slack]);
    for number in 0..5 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    sleep(SECOND / 2).await;
    delivery.replace_channels(vec![slack.clone(), telegram.clone()]);
    sleep(MINUTE).await;
    assert_eq!(slack.titles(), ["c0", "c1", "c2", "c3", "c4"]);
    assert!(slack.sent().iter().all(|sent| sent.notice.delay.is_none()));
    let times: Vec<Instant> = slack.sent().iter().map(|sent| sent.at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(998)), "{times:?}");
    assert!(telegram.titles().is_empty());
    delivery.submit(direct(Critical, "both"));
    sleep(5 * SECOND).await;
    assert_eq!(telegram.titles(), ["both"]);
    assert_eq!(slack.titles().len(), 6);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Sent), 6);
}

#[tokio::test(start_paused = true)]
async fn what_the_old_address_refuses_in_flight_is_sent_to_the_new_one_at_once() {
    let (old, new) = (Scripted::new("slack"), Scripted::new("slack"));
    old.take(SECOND);
    old.always(dead());
    let mut delivery = start(DeliverySettings::default(), &[&old]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND / 2).await;
    delivery.replace_channels(vec![new.clone()]);
    sleep(SECOND).await;
    assert_eq!(new.titles(), ["urgent"]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_back_sends_what_it_left() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    telegram.always(down());
    let mut delivery = start(DeliverySettings::default(), &[&slack, &telegram]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    delivery.replace_channels(vec![slack.clone()]);
    sleep(MINUTE).await;
    let tries = telegram.sent().len();
    telegram.always(Outcome::Accepted);
    sleep(5 * MINUTE).await;
    assert_eq!(telegram.sent().len(), tries, "it is gone");
    delivery.replace_channels(vec![slack.clone(), telegram.clone()]);
    sleep(SECOND).await;
    assert_eq!((slack.titles(), telegram.titles()), (vec!["urgent".to_owned()], vec!["urgent".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_critical_alert_does_not_wait_behind_a_test() {
    let slack = Scripted::with_pace("slack", Pace::new(3, SECOND));
    slack.take(10 * SECOND);
    let delivery = start(DeliverySettings::default(), &[&slack]);
    let tested = tokio::spawn(delivery.test_channel("slack"));
    sleep(SECOND).await;
    slack.take(Duration::ZERO);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    assert_eq!(slack.titles(), ["urgent"]);
    tested.await.unwrap().unwrap();
    assert_eq!(slack.titles(), ["urgent", "Test alert"]);
}

/// The route of warnings leads elsewhere once the incident is critical, and the channels are set up anew in between.
#[tokio::test(start_paused = true)]
async fn who_heard_of_an_incident_hears_its_end_past_a_new_set_up() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    let routes = Routes {
        warning: Some(vec!["slack".into()]),
        critical: Some(vec!["telegram".into()]),
        ..Routes::default()
    };
    let settings = DeliverySettings { routes, ..DeliverySettings::default() };
    let mut delivery = start(settings, &[&telegram, &slack]);
    delivery.submit(state("1", Opened, Warning, "10:01:02"));
    sleep(SECOND).await;
    delivery.replace_channels(vec![telegram.clone(), slack.clone()]);
    let mut escalated = state("1", Escalated, Critical, "10:01:05");
    escalated.worst_severity = Critical;
    delivery.submit(escalated);
    sleep(SECOND).await;
    let mut resolved = state("1", Resolved, Critical, "10:01:40");
    resolved.worst_severity = Critical;
    delivery.submit(resolved);
    sleep(SECOND).await;
    assert_eq!(slack.accepted().len(), 3);
    assert_eq!(telegram.accepted().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_critical_message_that_waits_too_long_is_told_to_the_others() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    telegram.always(down());
    let delivery = start(DeliverySettings::default(), &[&telegram, &slack]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(MINUTE).await;
    assert_eq!(slack.titles(), ["urgent"]);
    sleep(2 * MINUTE).await;
    assert_eq!(slack.titles(), ["urgent", "Alert channel telegram is not delivering"]);
    let queue = &delivery.queues()[0].1;
    assert!(queue.oldest_critical.unwrap() >= 3 * MINUTE, "{queue:?}");
    telegram.always(Outcome::Accepted);
    sleep(2 * MINUTE).await;
    assert_eq!(telegram.titles(), ["urgent"]);
    assert_eq!(slack.accepted().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_sent_once_more_as_plain_text_and_then_given_up() {
    let slack = Scripted::new("slack");
    let refused = Outcome::Reformat(Failure::new("status 400, invalid_payload"));
    slack.script([refused.clone(), Outcome::Accepted, refused.clone(), refused]);
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(direct(Warning, "odd"));
    sleep(SECOND).await;
    let plain: Vec<bool> = slack.sent().iter().map(|sent| sent.notice.plain).collect();
    assert_eq!(plain, [false, true]);
    delivery.submit(direct(Critical, "odder"));
    delivery.submit(direct(Critical, "sound"));
    sleep(MINUTE).await;
    assert_eq!(slack.sent().len(), 5);
    assert_eq!(slack.titles(), ["odd", "sound"]);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Undeliverable), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_for_no_clear_reason_holds_up_no_other_and_is_tried_again() {
    let (slack, log) = (Scripted::new("slack"), Scripted::new("log"));
    slack.refuse("odd", unclear());
    let delivery = start(DeliverySettings::default(), &[&slack, &log]);
    delivery.submit(direct(Critical, "odd"));
    for number in 0..3 {
        delivery.submit(direct(Critical, &format!("sound {number}")));
    }
    sleep(SECOND).await;
    assert_eq!(slack.titles(), ["sound 0", "sound 1", "sound 2"]);
    assert!(delivery.stats()[1].is_up());
    sleep(10 * MINUTE).await;
    let tries = slack.sent().iter().filter(|sent| sent.title() == "odd").count();
    assert!((10..30).contains(&tries), "{tries}");
    let troubles =
        || log.titles().iter().filter(|title| *title == "Alert channel slack is not delivering").count();
    assert_eq!(troubles(), 1);

    // What comes meanwhile does not wait either.
    delivery.submit(direct(Warning, "mild"));
    sleep(SECOND).await;
    assert_eq!(slack.titles()[3..], ["mild"]);
    slack.refuse("odd", Outcome::Accepted);
    sleep(2 * MINUTE).await;
    assert_eq!(slack.titles()[4..], ["odd"]);
    assert_eq!(troubles(), 2, "its end");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_everything_are_an_outage_after_which_the_order_holds_but_for_the_first() {
    let slack = Scripted::new("slack");
    slack.always(unclear());
    let delivery = start(DeliverySettings::default(), &[&slack]);
    for number in 0..5 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    sleep(10 * MINUTE).await;
    let tries = slack.sent().len();
    assert!((12..30).contains(&tries), "the channel is left in peace: {tries}");
    assert!(!delivery.stats()[1].is_up());
    slack.always(Outcome::Accepted);
    sleep(2 * MINUTE).await;
    let told = slack.titles();
    let rest: Vec<&String> = told[1..].iter().collect();
    assert!(rest.is_sorted() && told.len() == 5, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_moves_gets_the_message_at_its_new_place() {
    let telegram = Scripted::new("telegram");
    telegram.script([Outcome::Moved]);
    let delivery = start(DeliverySettings::default(), &[&telegram]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    assert_eq!(telegram.titles(), ["urgent"]);
    // One that never stops moving is dead, not a loop.
    telegram.always(Outcome::Moved);
    delivery.submit(direct(Critical, "lost"));
    sleep(MINUTE).await;
    assert_eq!(telegram.sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn on_overflow_the_mildest_go_first_and_their_number_is_told() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let settings = DeliverySettings { queue: 10, ..DeliverySettings::default() };
    let delivery = start(settings, &[&slack]);
    for number in 0..4 {
        delivery.submit(direct(Info, &format!("i{number}")));
    }
    for number in 0..4 {
        delivery.submit(direct(Warning, &format!("w{number}")));
    }
    for number in 0..7 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    delivery.submit(direct(Info, "late"));
    assert_eq!(delivery.queues()[0].1.length, 10);
    slack.always(Outcome::Accepted);
    sleep(5 * MINUTE).await;
    let titles = slack.titles();
    let critical: Vec<String> = (0..7).map(|number| format!("c{number}")).collect();
    assert_eq!(titles[..7], critical[..]);
    assert_eq!(titles[7..], ["w1", "w2", "w3", "Alerts were dropped"]);
    assert!(
        slack.accepted()[10].text().contains("6 messages were dropped"),
        "{}",
        slack.accepted()[10].text()
    );
    assert_eq!(count(&delivery, "slack", DeliveryResult::Dropped), 6);
}

#[tokio::test(start_paused = true)]
async fn on_overflow_nobody_loses_the_end_of_an_incident_that_he_was_told_of() {
    let slack = Scripted::new("slack");
    let settings = DeliverySettings { queue: 3, ..DeliverySettings::default() };
    let delivery = start(settings, &[&slack]);
    delivery.submit(state("1", Opened, Warning, "10:01:02"));
    sleep(SECOND).await;
    // This one ends while its beginning is in flight.
    slack.take(SECOND / 2);
    delivery.submit(state("2", Opened, Warning, "10:01:02"));
    sleep(SECOND / 10).await;
    delivery.submit(state("2", Resolved, Warning, "10:01:03"));
    slack.script([Outcome::Accepted]);
    slack.always(down());
    delivery.submit(state("1", Resolved, Warning, "10:01:40"));
    for number in 0..5 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    sleep(MINUTE).await;
    slack.always(Outcome::Accepted);
    sleep(5 * MINUTE).await;
    assert_eq!(
        slack.titles(),
        ["Drawdown", "Drawdown", "c2", "c3", "c4", "Drawdown", "Drawdown", "Alerts were dropped"]
    );
    assert_eq!(kinds(&slack)[5..7], [Resolved, Resolved]);
}

#[tokio::test(start_paused = true)]
async fn an_incident_whose_beginning_was_dropped_is_not_told_by_its_end() {
    let slack = Scripted::new("slack");
    slack.always(down());
    let settings = DeliverySettings { queue: 3, ..DeliverySettings::default() };
    let delivery = start(settings, &[&slack]);
    delivery.submit(state("1", Opened, Warning, "10:01:02"));
    for number in 0..3 {
        delivery.submit(direct(Critical, &format!("c{number}")));
    }
    delivery.submit(state("1", Resolved, Warning, "10:01:40"));
    slack.always(Outcome::Accepted);
    sleep(5 * MINUTE).await;
    assert_eq!(slack.titles(), ["c0", "c1", "c2", "Alerts were dropped"]);
    assert!(slack.accepted()[3].text().contains("1 messages"), "{}", slack.accepted()[3].text());
}

fn silenced(event: Event) -> Event {
    Event { silenced: true, ..event }
}

#[tokio::test(start_paused = true)]
async fn a_silence_over_a_message_in_flight_leaves_nobody_with_an_incident_that_is_over() {
    for (answer, told) in [(down(), vec![Resolved]), (Outcome::Accepted, vec![Opened, Resolved])] {
        let slack = Scripted::new("slack");
        slack.take(SECOND);
        slack.script([answer]);
        let delivery = start(DeliverySettings::default(), &[&slack]);
        delivery.submit(state("1", Opened, Critical, "10:01:02"));
        sleep(SECOND / 2).await;
        delivery.submit(silenced(state("1", Resolved, Critical, "10:01:40")));
        sleep(MINUTE).await;
        assert_eq!(kinds(&slack), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_muted_while_a_message_is_in_flight_is_told_only_with_it() {
    for (answer, told) in [(down(), vec![Escalated]), (Outcome::Accepted, vec![Opened])] {
        let slack = Scripted::new("slack");
        slack.take(SECOND);
        slack.script([answer]);
        let delivery = start(DeliverySettings::default(), &[&slack]);
        delivery.submit(state("1", Opened, Warning, "10:01:02"));
        sleep(SECOND / 2).await;
        delivery.submit(silenced(state("1", Escalated, Critical, "10:01:40")));
        sleep(MINUTE).await;
        assert_eq!(kinds(&slack), told);
        assert_eq!(delivery.queues()[0].1.length, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silence_does_not_hide_the_end_of_what_was_told_before_it() {
    let slack = Scripted::new("slack");
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(state("1", Opened, Critical, "10:01:02"));
    sleep(SECOND).await;
    delivery.submit(silenced(state("1", DeEscalated, Warning, "10:01:30")));
    sleep(SECOND).await;
    assert_eq!(kinds(&slack), [Opened], "it is muted");
    delivery.submit(silenced(state("1", Resolved, Warning, "10:01:40")));
    sleep(SECOND).await;
    assert_eq!(kinds(&slack), [Opened, Resolved]);

    // What nobody was told of ends unsaid, also where the silence ends in the same moment.
    delivery.submit(silenced(state("2", Opened, Critical, "10:01:02")));
    delivery.submit(silenced(state("2", Resolved, Critical, "10:01:40")));
    delivery.submit(silenced(state("3", Opened, Critical, "10:01:02")));
    delivery.submit(state("3", Resolved, Critical, "10:01:40"));
    sleep(SECOND).await;
    assert_eq!(slack.accepted().len(), 2);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Silenced), 4);
}

#[tokio::test(start_paused = true)]
async fn a_silenced_state_is_not_sent_but_ends_what_an_unsent_message_would_claim() {
    let slack = Scripted::new("slack");
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(silenced(state("1", Opened, Warning, "10:00:00")));
    sleep(MINUTE).await;
    assert_eq!(slack.sent().len(), 0);
    assert_eq!(count(&delivery, "slack", DeliveryResult::Silenced), 1);

    slack.script([down()]);
    delivery.submit(state("2", Opened, Critical, "10:01:02"));
    sleep(SECOND / 10).await;
    delivery.submit(silenced(state("2", Resolved, Critical, "10:01:40")));
    sleep(MINUTE).await;
    assert_eq!(slack.accepted().len(), 1);
    assert!(slack.accepted()[0].text().contains("RESOLVED"));
}

#[tokio::test(start_paused = true)]
async fn routes_choose_the_channels_and_who_heard_of_an_incident_hears_its_end() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    let routes =
        Routes { warning: Some(vec!["slack".into()]), critical: Some(vec!["telegram".into()]), info: None };
    let settings = DeliverySettings { routes, ..DeliverySettings::default() };
    let delivery = start(settings, &[&slack, &telegram]);
    let send = |event| async {
        delivery.submit(event);
        sleep(SECOND).await;
        (slack.accepted().len(), telegram.accepted().len())
    };
    assert_eq!(send(direct(Info, "everywhere")).await, (1, 1));
    assert_eq!(send(state("1", Opened, Warning, "10:00:00")).await, (2, 1));
    assert_eq!(send(state("1", Escalated, Critical, "10:00:01")).await, (3, 2));
    assert_eq!(send(state("1", Resolved, Critical, "10:00:02")).await, (4, 3));
    assert_eq!(send(state("2", Opened, Critical, "10:00:00")).await, (4, 4));
    let mut chosen = direct(Critical, "chosen");
    chosen.channels = Some(vec!["slack".into()]);
    assert_eq!(send(chosen).await, (5, 4));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_sends_critical_first_and_keeps_the_rest() {
    let slack = Scripted::with_pace("slack", Pace::new(1, SECOND));
    let delivery = start(DeliverySettings::default(), &[&slack]);
    for number in 0..10 {
        delivery.submit(direct(Warning, &format!("w{number}")));
    }
    delivery.submit(direct(Critical, "urgent"));
    let began = Instant::now();
    let drained = delivery.shutdown(Duration::from_millis(3500)).await;
    assert!(began.elapsed() <= 5 * SECOND);
    assert_eq!(slack.titles(), ["urgent", "w0", "w1", "w2"]);
    assert_eq!(drained.unsent, [("slack", 7)]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_what_cannot_be_sent() {
    let (slack, telegram) = (Scripted::new("slack"), Scripted::new("telegram"));
    slack.always(dead());
    telegram.take(60 * MINUTE);
    let delivery = start(DeliverySettings::default(), &[&slack, &telegram]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(SECOND).await;
    let began = Instant::now();
    let drained = delivery.shutdown(5 * SECOND).await;
    assert!(began.elapsed() <= 6 * SECOND, "{:?}", began.elapsed());
    assert_eq!(drained.unsent.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_test_message_is_marked_and_its_error_is_typed() {
    let slack = Scripted::new("slack");
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.test_channel("slack").await.unwrap();
    delivery.test_channel("log").await.unwrap();
    assert!(slack.accepted()[0].text().contains("[TEST] "));
    assert!(delivery.test_channel("pager").await.unwrap_err().is_unknown_channel());
    slack.script([down(), dead(), Outcome::SlowDown(Some(MINUTE))]);
    assert!(delivery.test_channel("slack").await.unwrap_err().is_unreachable());
    assert!(delivery.test_channel("slack").await.unwrap_err().is_refused());
    assert!(delivery.test_channel("slack").await.unwrap_err().is_paused());
    let requests = slack.sent().len();
    assert!(delivery.test_channel("slack").await.unwrap_err().is_paused(), "a ban is not tested");
    assert_eq!(slack.sent().len(), requests);
    advance(2 * MINUTE).await;
    delivery.test_channel("slack").await.unwrap();
    assert!(delivery.stats()[1].is_up(), "a test that arrives heals the channel");
}

#[tokio::test(start_paused = true)]
async fn durations_and_attempts_are_counted() {
    let slack = Scripted::new("slack");
    slack.take(SECOND);
    let delivery = start(DeliverySettings::default(), &[&slack]);
    delivery.submit(direct(Critical, "urgent"));
    sleep(MINUTE).await;
    let stats = &delivery.stats()[1];
    assert_eq!(stats.attempts(), 1);
    assert_eq!(stats.take_durations(), [SECOND]);
    assert_eq!(stats.take_durations(), []);
}

/// What happens to the incidents, and to the requests meanwhile.
#[derive(Clone, Debug)]
enum Happening {
    /// The incident of this number takes its next state: critical or not, or its end.
    Change(usize, Option<bool>),
    /// The next requests go like this.
    Answers(Vec<Outcome>),
    Wait(u64),
    /// The channels are set up anew.
    SetUp,
    /// The process is killed and started again.
    Restart,
    /// A silence begins or ends.
    Silence(bool),
    /// More critical alerts than the queue has room for.
    Flood,
}

fn happening() -> impl Strategy<Value = Happening> {
    let outcome = prop_oneof![
        Just(Outcome::Accepted),
        Just(down()),
        Just(unclear()),
        Just(dead()),
        Just(Outcome::SlowDown(Some(7 * SECOND))),
        Just(Outcome::Moved),
    ];
    prop_oneof![
        8 => (0_usize..3, any::<Option<bool>>()).prop_map(|(incident, state)| Happening::Change(incident, state)),
        3 => prop::collection::vec(outcome, 1..4).prop_map(Happening::Answers),
        3 => (0_u64..90).prop_map(Happening::Wait),
        1 => (60_u64..7200).prop_map(Happening::Wait),
        1 => Just(Happening::SetUp),
        1 => Just(Happening::Restart),
        2 => any::<bool>().prop_map(Happening::Silence),
        1 => Just(Happening::Flood),
    ]
}

/// One life of an incident, as it is.
#[derive(Clone, Debug)]
struct Life {
    id: String,
    /// Critical or not; `None` once it is over.
    state: Option<bool>,
    /// Its last state was muted.
    is_muted: bool,
}

/// What people were told of one life.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// `None` once they know that it is over.
    state: Option<bool>,
    ever_critical: bool,
}

/// A delivery with one channel, the process that it is in, and what tells it of incidents.
struct World {
    slack: Arc<Scripted>,
    outbox: Outbox,
    clock: Arc<TokioClock>,
    delivery: Option<Delivery>,
    /// The last of each incident is the one that may be open.
    lives: [Vec<Life>; 3],
    is_silent: bool,
    /// Whether a process, or a set-up, that is over had no room for a message, or gave one up.
    has_dropped: bool,
    has_given_up: bool,
}

impl World {
    fn new() -> Self {
        let slack = Scripted::new("slack");
        slack.take(SECOND / 2);
        let mut world = Self {
            slack,
            outbox: Outbox::in_memory(),
            clock: TokioClock::new(),
            delivery: None,
            lives: Default::default(),
            is_silent: false,
            has_dropped: false,
            has_given_up: false,
        };
        world.restart();
        world
    }

    fn restart(&mut self) {
        drop(self.delivery.take());
        let settings = DeliverySettings { queue: 4, ttl: 10 * MINUTE, ..DeliverySettings::default() };
        let channels = vec![self.slack.clone() as Arc<dyn Channel>];
        let (outbox, clock) = (self.outbox.clone(), Arc::clone(&self.clock) as _);
        self.delivery = Some(Delivery::start(settings, channels, outbox, &Outboxed::default(), clock));
    }

    fn delivery(&mut self) -> &mut Delivery {
        self.delivery.as_mut().unwrap()
    }

    fn submit(&mut self, id: &str, kind: EventKind, is_critical: bool) {
        let severity = if is_critical { Critical } else { Warning };
        let event = Event { silenced: self.is_silent, ..state(id, kind, severity, "10:01:02") };
        self.delivery().submit(event);
    }

    fn change(&mut self, incident: usize, next: Option<bool>) {
        let lives = &mut self.lives[incident];
        let open = lives.last_mut().filter(|life| life.state.is_some());
        let (kind, was_critical) = match (&open, next) {
            (None, None) => return,
            (Some(life), _) if life.state == next => return,
            (None, Some(critical)) => (Opened, critical),
            (Some(life), None) => (Resolved, life.state == Some(true)),
            (Some(_), Some(true)) => (Escalated, true),
            (Some(_), Some(false)) => (DeEscalated, false),
        };
        let is_muted = self.is_silent && kind != Resolved;
        let id = if let Some(life) = open {
            (life.state, life.is_muted) = (next, is_muted);
            life.id.clone()
        } else {
            let id = format!("{incident}-{}", lives.len());
            lives.push(Life { id: id.clone(), state: next, is_muted });
            id
        };
        self.submit(&id, kind, was_critical);
    }

    /// As the evaluation does: the end of a silence tells what it muted and still holds.
    fn silence(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
        if is_silent {
            return;
        }
        let muted: Vec<_> = self.lives.iter_mut().flatten().filter(|life| life.is_muted).collect();
        let told: Vec<_> = muted
            .into_iter()
            .filter_map(|life| {
                life.is_muted = false;
                Some((life.id.clone(), life.state?))
            })
            .collect();
        for (id, is_critical) in told {
            self.submit(&id, Updated, is_critical);
        }
    }

    async fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Change(incident, next) => self.change(incident, next),
            Happening::Answers(outcomes) => self.slack.script(outcomes),
            Happening::Wait(seconds) => sleep(Duration::from_secs(seconds)).await,
            Happening::SetUp => {
                self.account();
                let channels = vec![self.slack.clone() as Arc<dyn Channel>];
                self.delivery().replace_channels(channels);
            }
            Happening::Restart => {
                self.account();
                self.restart();
            }
            Happening::Silence(is_silent) => self.silence(is_silent),
            Happening::Flood => {
                for number in 0..6 {
                    self.delivery().submit(direct(Critical, &format!("c{number}")));
                }
            }
        }
    }

    fn account(&mut self) {
        self.has_dropped |= count(self.delivery(), "slack", DeliveryResult::Dropped) > 0;
        self.has_given_up |= count(self.delivery(), "slack", DeliveryResult::Undeliverable) > 0;
    }

    /// What people were told, by life. Fails where a message makes no sense to them.
    fn told(&self) -> HashMap<String, Told> {
        let mut told: HashMap<String, Told> = HashMap::new();
        for sent in self.slack.accepted() {
            let (text, event) = (sent.text(), sent.notice.event);
            if !event.kind.is_of_incident() {
                continue;
            }
            let is_over = event.kind == Resolved;
            let before = told.get(&event.incident);
            assert!(before.is_none_or(|told| told.state.is_some()), "{} of what is over", event.kind);
            assert!(
                !is_over || before.is_some() || text.contains(", resolved ") || self.has_dropped,
                "an end without a beginning: {text}"
            );
            let is_critical = event.severity == Critical || text.contains("critical 1");
            let known = told.entry(event.incident).or_default();
            known.state = (!is_over).then_some(event.severity == Critical);
            known.ever_critical |= is_critical;
        }
        told
    }

    /// Compares what people believe in the end with what is true.
    fn check(mut self) {
        // A process remembers whose beginning it has dropped; the next one does not.
        let told = self.told();
        self.account();
        for life in self.lives.iter().flatten() {
            match told.get(&life.id) {
                // Of what they know, people know the truth; but a warning that ended in an outage longer than it is worth.
                Some(known) => {
                    let may_be_given_up = self.has_given_up && life.state.is_none() && !known.ever_critical;
                    assert!(known.state == life.state || may_be_given_up, "{known:?} of {life:?}");
                }
                // What holds is dropped for want of room alone, what ended unseen also because of its age or a silence.
                None => assert!(life.state.is_none() || self.has_dropped, "{life:?} was never told"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_the_last_state_that_people_see_is_the_true_one(
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for happening in happenings {
                world.happens(happening).await;
            }
            // And then the silence is over and the channel is well, after all that is still to fail.
            world.silence(false);
            sleep(20 * 60 * MINUTE).await;
            world.check();
        });
    }
}
