//! Slack, by an incoming webhook.

use std::time::Duration;

use secrecy::SecretString;

use super::http::{Answer, Endpoint, HttpSettings};
use super::{Channel, ChannelError, Failure, Outcome, Sending};
use crate::alerts::delivery::Pace;
use crate::alerts::message::{Notice, slack_payload};

/// A Slack channel. Its webhook URL is the secret that lets anybody write to it.
#[derive(Debug)]
pub struct Slack {
    endpoint: Endpoint,
    pace: Pace,
}

impl Slack {
    /// The name in settings, routes and metrics.
    pub const NAME: &'static str = "slack";

    /// A channel behind `webhook_url`. Makes no request.
    ///
    /// # Errors
    ///
    /// When the URL is not valid or no TLS client can be built.
    pub fn new(webhook_url: SecretString, http: &HttpSettings) -> Result<Self, ChannelError> {
        // Slack's limit: one message a second, short bursts allowed.
        let pace = Pace::new(4, Duration::from_secs(1));
        Ok(Self { endpoint: Endpoint::new(Self::NAME, webhook_url, http)?, pace })
    }

    /// With another pace than one message a second and bursts of four.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }
}

impl Channel for Slack {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn pace(&self) -> Pace {
        self.pace.clone()
    }

    fn send<'a>(&'a self, notice: &'a Notice) -> Sending<'a> {
        Box::pin(async move {
            match self.endpoint.post(slack_payload(notice)).await {
                Ok(answer) => classify(&answer),
                Err(failure) => Outcome::TryAgain(failure),
            }
        })
    }
}

/// The codes that Slack documents. Any other word in a body is a stranger's and is not repeated.
const KNOWN: [&str; 13] = [
    "invalid_token",
    "action_prohibited",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "channel_not_found",
    "channel_is_archived",
    "user_not_found",
    "invalid_payload",
    "invalid_blocks",
    "no_text",
    "msg_too_long",
    "too_many_attachments",
];

fn classify(answer: &Answer) -> Outcome {
    let body = String::from_utf8_lossy(&answer.body);
    let code = KNOWN.into_iter().find(|known| body.trim() == *known).unwrap_or_default();
    let failure = || Failure::status(answer.status, code);
    match (answer.status, code) {
        (200, _) if body.trim() == "ok" => Outcome::Accepted,
        (200..300, _) => Outcome::TryAgain(Failure::status(answer.status, "not answered by Slack")),
        (429, _) => Outcome::SlowDown(answer.retry_after),
        (400, "invalid_token" | "no_service" | "no_service_id" | "no_active_hooks") => {
            Outcome::Dead(failure())
        }
        (400, "channel_not_found" | "channel_is_archived" | "user_not_found") => Outcome::Dead(failure()),
        (400, "invalid_payload" | "invalid_blocks" | "no_text" | "msg_too_long" | "too_many_attachments")
        | (413, _) => Outcome::Reformat(failure()),
        (408 | 500.., _) => Outcome::TryAgain(failure()),
        // It may be a proxy's, and say nothing about the message.
        (400, _) => Outcome::Unclear(failure()),
        _ => Outcome::Dead(failure()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, body: &str) -> Outcome {
        classify(&Answer { status, retry_after: Some(Duration::from_secs(7)), body: body.into() })
    }

    #[test]
    fn every_answer_has_its_class() {
        assert_eq!(outcome(200, "ok"), Outcome::Accepted);
        assert_eq!(outcome(429, "rate_limited"), Outcome::SlowDown(Some(Duration::from_secs(7))));
        for (status, body) in
            [(200, "<html>"), (200, ""), (204, ""), (500, "rollup_error"), (503, ""), (408, "")]
        {
            assert!(matches!(outcome(status, body), Outcome::TryAgain(_)), "{status} {body}");
        }
        for (status, body) in [
            (400, "invalid_payload"),
            (400, "invalid_blocks"),
            (400, "no_text"),
            (400, "msg_too_long"),
            (413, ""),
        ] {
            assert!(matches!(outcome(status, body), Outcome::Reformat(_)), "{status} {body}");
        }
        let dead = [
            (400, "invalid_token"),
            (403, "invalid_token"),
            (403, "action_prohibited"),
            (404, "no_service"),
            (404, "channel_not_found"),
            (410, "channel_is_archived"),
            (301, ""),
            (307, ""),
        ];
        for (status, body) in dead {
            assert!(matches!(outcome(status, body), Outcome::Dead(_)), "{status} {body}");
        }
    }

    #[test]
    fn a_400_that_slack_does_not_document_is_unclear() {
        for body in ["<html><h1>Bad Request</h1></html>", "", "something_new"] {
            assert!(matches!(outcome(400, body), Outcome::Unclear(_)), "{body}");
        }
    }

    #[test]
    fn a_strangers_words_are_not_repeated() {
        let Outcome::Dead(failure) = outcome(404, "no such page: /services/T0/B0/secret") else {
            panic!("not dead");
        };
        assert_eq!(failure.to_string(), "status 404");
    }
}
