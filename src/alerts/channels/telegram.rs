//! Telegram, by a bot.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};

use super::http::{Answer, Endpoint, HttpSettings};
use super::{Channel, ChannelError, Failure, Outcome, Sending};
use crate::alerts::delivery::Pace;
use crate::alerts::message::{Notice, telegram_payload};
use crate::lock::lock;

/// A Telegram chat. The bot's token is part of every URL.
pub struct Telegram {
    endpoint: Endpoint,
    /// Where to: changes when a group becomes a supergroup.
    chat_id: Mutex<String>,
    pace: Pace,
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram").finish_non_exhaustive()
    }
}

impl Telegram {
    /// The name in settings, routes and metrics.
    pub const NAME: &'static str = "telegram";
    /// Where Telegram's servers are.
    pub const BASE_URL: &'static str = "https://api.telegram.org";

    /// A chat that the bot with `token` writes to, at `base_url` (usually [`Self::BASE_URL`]). Makes no request.
    ///
    /// # Errors
    ///
    /// When the token or the URL is not valid, or no TLS client can be built.
    pub fn new(
        base_url: &str,
        token: &SecretString,
        chat_id: &str,
        http: &HttpSettings,
    ) -> Result<Self, ChannelError> {
        let token = token.expose_secret().trim();
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
        if token.is_empty() || !token.chars().all(valid) {
            return Err(ChannelError::settings(
                Self::NAME,
                "TELEGRAM_BOT_TOKEN is not a token, ask @BotFather for one",
            ));
        }
        let chat_id = chat_id.trim();
        if chat_id.is_empty() {
            return Err(ChannelError::settings(
                Self::NAME,
                "TELEGRAM_CHAT_ID is empty, write the id of the chat",
            ));
        }
        let url = SecretString::from(format!("{}/bot{token}/sendMessage", base_url.trim_end_matches('/')));
        let endpoint = Endpoint::new(Self::NAME, url, http)?;
        Ok(Self { endpoint, chat_id: Mutex::new(chat_id.to_owned()), pace: Self::pace_of(chat_id) })
    }

    /// With another pace than Telegram documents.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// One message a second in a chat, and 20 a minute in a group.
    fn pace_of(chat_id: &str) -> Pace {
        let pace = Pace::new(3, Duration::from_secs(1));
        if Self::is_group(chat_id) { pace.and(20, Duration::from_secs(3)) } else { pace }
    }

    /// Whether many read the chat: its id is negative, or it has a public name.
    pub(in crate::alerts) fn is_group(chat_id: &str) -> bool {
        chat_id.trim_start().starts_with(['-', '@'])
    }

    fn chat_id(&self) -> String {
        lock(&self.chat_id).clone()
    }

    /// After the chat `from` has moved; another message may have been told of it before.
    fn move_from(&self, from: &str, chat_id: i64) -> Outcome {
        let new = chat_id.to_string();
        let mut current = lock(&self.chat_id);
        if from == new {
            return Outcome::Dead(Failure::new("the chat moved to where it was"));
        }
        tracing::warn!(
            target: "trading_telemetry",
            channel = Self::NAME,
            new_chat_id = chat_id,
            "alert_chat_moved_set_telegram_chat_id"
        );
        *current = new;
        Outcome::Moved
    }
}

impl Channel for Telegram {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn pace(&self) -> Pace {
        self.pace.clone()
    }

    fn send<'a>(&'a self, notice: &'a Notice) -> Sending<'a> {
        Box::pin(async move {
            let chat_id = self.chat_id();
            match self.endpoint.post(telegram_payload(notice, &chat_id)).await {
                Ok(answer) => match classify(&answer) {
                    Class::Outcome(outcome) => outcome,
                    Class::Moved(new) => self.move_from(&chat_id, new),
                },
                Err(failure) => Outcome::TryAgain(failure),
            }
        })
    }
}

#[derive(Debug, Default)]
struct Reply {
    ok: bool,
    description: String,
    parameters: Parameters,
}

impl Reply {
    /// What `body` says, as far as it was read: Telegram repeats the message behind its verdict, escaped, so that the end
    /// of a long one is out of reach.
    fn read(body: &[u8]) -> Self {
        let mut reply = Self::default();
        match serde_json::Deserializer::from_slice(body).deserialize_map(&mut reply) {
            Err(error) if !error.is_eof() => Self::default(),
            _ => reply,
        }
    }
}

impl<'de> Visitor<'de> for &mut Reply {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of Telegram")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "ok" => self.ok = map.next_value()?,
                "description" => self.description = map.next_value()?,
                "parameters" => self.parameters = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

#[derive(Debug, PartialEq)]
enum Class {
    Outcome(Outcome),
    Moved(i64),
}

/// What a 400 says when nothing can be sent to the chat, whatever the text.
const NO_CHAT: [&str; 8] = [
    "chat not found",
    "chat_id is empty",
    "not enough rights",
    "have no rights",
    "need administrator rights",
    "PEER_ID_INVALID",
    "user is deactivated",
    "TOPIC_CLOSED",
];

/// What a 400 says when this form of the message will never do.
const NO_TEXT: [&str; 7] = [
    "can't parse",
    "message is too long",
    "MESSAGE_TOO_LONG",
    "text is empty",
    "must be non-empty",
    "must be encoded in UTF-8",
    "ENTIT",
];

fn classify(answer: &Answer) -> Class {
    let reply = Reply::read(&answer.body);
    let status = answer.status;
    let outcome = match status {
        200 if reply.ok => Outcome::Accepted,
        200..300 => Outcome::TryAgain(Failure::status(status, "not answered by Telegram")),
        429 => {
            Outcome::SlowDown(reply.parameters.retry_after.map(Duration::from_secs).or(answer.retry_after))
        }
        408 | 500.. => Outcome::TryAgain(Failure::status(status, "")),
        400 => match reply.parameters.migrate_to_chat_id {
            Some(chat_id) => return Class::Moved(chat_id),
            None => refused(&reply.description),
        },
        401 => Outcome::Dead(Failure::status(status, "the bot's token is wrong")),
        403 => Outcome::Dead(Failure::status(status, "the bot may not write to the chat")),
        404 => Outcome::Dead(Failure::status(status, "there is no such bot")),
        413 => Outcome::Reformat(Failure::status(status, "too large")),
        _ => Outcome::Dead(Failure::status(status, "")),
    };
    Class::Outcome(outcome)
}

/// A description is compared, never repeated: whoever answered may have put the URL into it. One that nobody knows says
/// nothing about the message, and may be gone the next time.
fn refused(description: &str) -> Outcome {
    let says = |known: &[&'static str]| known.iter().copied().find(|words| description.contains(words));
    if let Some(words) = says(&NO_CHAT) {
        Outcome::Dead(Failure::status(400, words))
    } else if says(&NO_TEXT).is_some() {
        Outcome::Reformat(Failure::status(400, "the message was refused"))
    } else {
        Outcome::Unclear(Failure::status(400, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, body: &str) -> Class {
        classify(&Answer { status, retry_after: None, body: body.into() })
    }

    fn outcome(status: u16, body: &str) -> Outcome {
        match class(status, body) {
            Class::Outcome(outcome) => outcome,
            Class::Moved(to) => panic!("moved to {to}"),
        }
    }

    #[test]
    fn every_answer_has_its_class() {
        assert_eq!(outcome(200, r#"{"ok":true,"result":{"message_id":1}}"#), Outcome::Accepted);
        let flood = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 5","parameters":{"retry_after":5}}"#;
        assert_eq!(outcome(429, flood), Outcome::SlowDown(Some(Duration::from_secs(5))));
        assert_eq!(outcome(429, "<html>"), Outcome::SlowDown(None));
        for (status, body) in [(200, "<html>"), (200, r#"{"ok":false}"#), (502, ""), (408, "")] {
            assert!(matches!(outcome(status, body), Outcome::TryAgain(_)), "{status} {body}");
        }
        for words in ["can't parse entities: byte offset 7", "message is too long", "message text is empty"] {
            let body = format!(r#"{{"ok":false,"error_code":400,"description":"Bad Request: {words}"}}"#);
            assert!(matches!(outcome(400, &body), Outcome::Reformat(_)), "{words}");
        }
        let unknown =
            r#"{"ok":false,"error_code":400,"description":"Bad Request: message thread not found"}"#;
        assert!(matches!(outcome(400, unknown), Outcome::Unclear(_)));
        let no_chat = r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#;
        assert!(matches!(outcome(400, no_chat), Outcome::Dead(_)));
        assert!(matches!(outcome(400, "<html>"), Outcome::Unclear(_)));
        for status in [301, 302, 401, 403, 404] {
            assert!(matches!(outcome(status, "<html>"), Outcome::Dead(_)), "{status}");
        }
        let moved = r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-1001234567890}}"#;
        assert_eq!(class(400, moved), Class::Moved(-1_001_234_567_890));
    }

    #[test]
    fn an_answer_that_is_longer_than_what_is_read_of_it_is_understood() {
        let whole = r#"{"ok":true,"result":{"message_id":1,"text":"\ud83d\udd34 CRITICAL","entities":[]}}"#;
        let verdict = r#"{"ok":true"#.len();
        for length in verdict..=whole.len() {
            assert_eq!(outcome(200, &whole[..length]), Outcome::Accepted, "{}", &whole[..length]);
        }
        for other in [&whole[..verdict - 1], r#"{"ok":true,<html>"#, r#"["ok",true]"#] {
            assert!(matches!(outcome(200, other), Outcome::TryAgain(_)), "{other}");
        }
    }

    #[test]
    fn a_group_has_a_slower_pace() {
        assert_ne!(Telegram::pace_of("-100123"), Telegram::pace_of("4711"));
    }
}
