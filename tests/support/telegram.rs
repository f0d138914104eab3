//! Telegram's Bot API, as strict as it is documented.

#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses its own part")]

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::fake::{Act, Arrival, Fake, Limiter, Reply, Service};

pub const TOKEN: &str = "123456789:AAtelegramSecretAAtelegramSecretAA";
pub const SECRET: &str = "AAtelegramSecretAAtelegramSecretAA";
pub const CHAT: &str = "4711";

pub struct FakeTelegram {
    pub fake: Fake,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    problems: Vec<String>,
    /// Where the chat has moved.
    moved_to: Option<i64>,
}

impl FakeTelegram {
    pub fn start() -> Self {
        Self::with_limit(None)
    }

    pub fn with_limit(limiter: Option<Limiter>) -> Self {
        let shared = Arc::<Mutex<Shared>>::default();
        let fake = Fake::start(Rules { limiter, shared: Arc::clone(&shared), sent: 0 });
        Self { fake, shared }
    }

    pub fn move_chat(&self, to: i64) {
        self.shared.lock().unwrap().moved_to = Some(to);
    }

    pub fn problems(&self) -> Vec<String> {
        self.shared.lock().unwrap().problems.clone()
    }
}

pub fn flood(seconds: u64) -> Act {
    Act::Answer(too_many(seconds))
}

pub fn refusal(status: u16, description: &str) -> Act {
    Act::Answer(error(status, description))
}

fn error(status: u16, description: &str) -> Reply {
    let body = json!({"ok": false, "error_code": status, "description": description});
    Reply::new(status, &body.to_string()).with("content-type", "application/json")
}

fn too_many(seconds: u64) -> Reply {
    let body = json!({
        "ok": false, "error_code": 429,
        "description": format!("Too Many Requests: retry after {seconds}"),
        "parameters": {"retry_after": seconds},
    });
    Reply::new(429, &body.to_string())
}

/// The whole message comes back, in ASCII: the answer to a long one is several times as long.
fn accepted(number: u64, chat: &str, request: &str) -> Reply {
    let id: i64 = chat.parse().unwrap();
    let sent: Value = serde_json::from_str(request).unwrap();
    let message = json!({
        "message_id": number, "date": 1_700_000_000, "chat": {"id": id, "type": "private"},
        "text": sent["text"], "entities": sent["entities"],
    });
    // The verdict stands first.
    let body = format!(r#"{{"ok":true,"result":{message}}}"#);
    let escaped = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    Reply::new(200, &body.encode_utf16().map(escaped).collect::<String>())
}

struct Rules {
    limiter: Option<Limiter>,
    shared: Arc<Mutex<Shared>>,
    sent: u64,
}

impl Service for Rules {
    fn answer(&mut self, request: &Arrival) -> (Reply, bool) {
        let Some((token, "sendMessage")) =
            request.path.strip_prefix("/bot").and_then(|rest| rest.split_once('/'))
        else {
            return (error(404, "Not Found"), false);
        };
        if !token.contains(':') {
            return (error(404, "Not Found"), false);
        }
        if token != TOKEN {
            return (error(401, "Unauthorized"), false);
        }
        if let Some(Err(wait)) = self.limiter.as_mut().map(|limiter| limiter.admit(request.at)) {
            return (too_many(wait.as_secs() + 1), false);
        }
        if !request.content_type.starts_with("application/json") {
            return (error(400, "Bad Request: message text is empty"), false);
        }
        let mut shared = self.shared.lock().unwrap();
        let home = shared.moved_to.map_or_else(|| CHAT.to_owned(), |chat| chat.to_string());
        let mut problems = Vec::new();
        match check(&request.body, &mut problems) {
            Err(description) => (error(400, &description), false),
            Ok(chat) if chat == home => {
                shared.problems.append(&mut problems);
                self.sent += 1;
                (accepted(self.sent, chat, &request.body), true)
            }
            Ok(CHAT) => {
                let body = json!({
                    "ok": false, "error_code": 400,
                    "description": "Bad Request: group chat was upgraded to a supergroup chat",
                    "parameters": {"migrate_to_chat_id": shared.moved_to},
                });
                (Reply::new(400, &body.to_string()), false)
            }
            Ok(_) => (error(400, "Bad Request: chat not found"), false),
        }
    }
}

/// Checks a `sendMessage` as the real service does, and returns the chat.
pub fn check<'a>(body: &'a str, problems: &mut Vec<String>) -> Result<&'a str, String> {
    let refuse = |what: &str| Err(format!("Bad Request: {what}"));
    let Ok(Value::Object(message)) = serde_json::from_str::<Value>(body) else {
        return refuse("message text is empty");
    };
    let known = ["chat_id", "text", "entities", "disable_notification", "link_preview_options"];
    problems.extend(
        message.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("unknown {key}")),
    );
    let Some(chat) = message.get("chat_id").and_then(Value::as_str) else {
        return refuse("chat_id is empty");
    };
    let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
    if text.trim().is_empty() {
        return refuse("message text is empty");
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    if units.len() > 4096 {
        return refuse("message is too long");
    }
    if text.starts_with(char::is_whitespace) {
        problems.push(format!("trimming moves the entities: {text}"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        problems.push(format!("a control character: {text}"));
    }
    for entity in message.get("entities").and_then(Value::as_array).into_iter().flatten() {
        let number = |key: &str| entity[key].as_u64().and_then(|number| usize::try_from(number).ok());
        let (Some(offset), Some(length)) = (number("offset"), number("length")) else {
            return refuse("can't parse entities: offset or length is missing");
        };
        let inside = length > 0 && offset + length <= units.len();
        let splits = |at: usize| units.get(at).is_some_and(|unit| (0xdc00..0xe000).contains(unit));
        if !inside || splits(offset) || splits(offset + length) {
            return refuse("can't parse entities: an entity is outside of the text or splits a character");
        }
        if entity["type"] != "bold" {
            return refuse("can't parse entities: unsupported type");
        }
    }
    // The chat's id has no escapes, so it stands in the body as it is.
    let at = body.find(chat).unwrap_or_default();
    Ok(&body[at..at + chat.len()])
}
