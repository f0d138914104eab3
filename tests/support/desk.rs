//! What people see of a desk's alerts, and a desk with both channels.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::Duration;

use serde_json::Value;

use crate::fake::Arrival;
use crate::process::{Service, eventually};
use crate::slack::FakeSlack;
use crate::telegram::{CHAT, FakeTelegram, TOKEN};

/// The desk sends to this Slack, as fast as it likes, and evaluates ten times a second.
pub(crate) fn with_slack(service: Service, slack: &FakeSlack) -> Service {
    service
        .variable("SLACK_WEBHOOK_URL", &slack.webhook_url())
        .variable("SA_ALERTS__SLACK__PACE_PER_SECOND", "1000")
        .variable("SA_ALERTS__SLACK__BURST", "1000")
        .variable("SA_ALERTS__EVALUATION_INTERVAL_SECONDS", "0.1")
}

/// The desk sends to this Telegram, as fast as it likes.
pub(crate) fn with_telegram(service: Service, telegram: &FakeTelegram) -> Service {
    service
        .variable("TELEGRAM_BOT_TOKEN", TOKEN)
        .variable("TELEGRAM_CHAT_ID", CHAT)
        .variable("SA_ALERTS__TELEGRAM__API_BASE_URL", &telegram.fake.base_url())
        .variable("SA_ALERTS__TELEGRAM__PACE_PER_SECOND", "1000")
        .variable("SA_ALERTS__TELEGRAM__BURST", "1000")
}

/// The first line of a message in Slack: severity and title.
pub(crate) fn headline(arrival: &Arrival) -> String {
    let payload: Value = serde_json::from_str(&arrival.body).unwrap();
    payload["text"].as_str().unwrap().to_owned()
}

/// The text of a message in Slack.
pub(crate) fn text(arrival: &Arrival) -> String {
    let payload: Value = serde_json::from_str(&arrival.body).unwrap();
    payload["blocks"][0]["text"]["text"].as_str().unwrap().to_owned()
}

/// A line of the metadata in a message of Slack.
pub(crate) fn fact(arrival: &Arrival, key: &str) -> Option<String> {
    let key = format!("• {key}: ");
    text(arrival).lines().find_map(|line| Some(line.strip_prefix(&key)?.to_owned()))
}

/// The messages that people see, as soon as there are so many.
pub(crate) fn seen(slack: &FakeSlack, number: usize) -> Vec<Arrival> {
    eventually(&format!("message {number} in Slack"), || {
        let accepted = slack.fake.accepted();
        (accepted.len() >= number).then_some(accepted)
    })
}

/// That nothing more comes for a while than these headlines.
pub(crate) fn nothing_but(slack: &FakeSlack, headlines: &[&str]) {
    std::thread::sleep(Duration::from_millis(1500));
    let all: Vec<String> = slack.fake.accepted().iter().map(headline).collect();
    assert_eq!(all, headlines);
}
