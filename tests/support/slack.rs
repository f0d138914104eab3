//! Slack's incoming webhooks, as strict as they are documented.

#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses its own part")]

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::fake::{Arrival, Fake, Limiter, Reply, Service};

/// The path of the one webhook that exists; its last part is the secret.
pub const PATH: &str = "/services/T00000000/B00000000/XXhookSecretXXhookSecret";
pub const SECRET: &str = "XXhookSecretXXhookSecret";

pub struct FakeSlack {
    pub fake: Fake,
    problems: Arc<Mutex<Vec<String>>>,
}

impl FakeSlack {
    pub fn start() -> Self {
        Self::with_limit(None)
    }

    pub fn with_limit(limiter: Option<Limiter>) -> Self {
        let problems = Arc::<Mutex<Vec<String>>>::default();
        let fake = Fake::start(Rules { limiter, problems: Arc::clone(&problems) });
        Self { fake, problems }
    }

    pub fn webhook_url(&self) -> String {
        format!("{}{PATH}", self.fake.base_url())
    }

    /// What a person would have to be sorry for: mentions, broken escapes, quotations.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }
}

struct Rules {
    limiter: Option<Limiter>,
    problems: Arc<Mutex<Vec<String>>>,
}

impl Service for Rules {
    fn answer(&mut self, request: &Arrival) -> (Reply, bool) {
        let refuse = |status, code: &str| (Reply::new(status, code), false);
        if request.method != "POST" {
            return refuse(400, "invalid_payload");
        }
        match request.path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "services", "T00000000", "B00000000", SECRET] => {}
            ["", "services", "T00000000", "B00000000", _] => return refuse(403, "invalid_token"),
            ["", "services", _, _, _] => return refuse(404, "no_service"),
            _ => return refuse(404, "no_team"),
        }
        if let Some(Err(wait)) = self.limiter.as_mut().map(|limiter| limiter.admit(request.at)) {
            let seconds = wait.as_secs_f64().ceil().to_string();
            return (Reply::new(429, "").with("retry-after", &seconds), false);
        }
        if !request.content_type.starts_with("application/json") {
            return refuse(400, "invalid_payload");
        }
        let mut problems = Vec::new();
        let verdict = check(&request.body, &mut problems);
        self.problems.lock().unwrap().extend(problems);
        match verdict {
            Ok(()) => (Reply::new(200, "ok"), true),
            Err(code) => refuse(400, code),
        }
    }
}

/// Checks a payload as the real service does; `problems` is what it would accept and somebody would regret.
pub fn check(body: &str, problems: &mut Vec<String>) -> Result<(), &'static str> {
    let Ok(Value::Object(payload)) = serde_json::from_str(body) else { return Err("invalid_payload") };
    if payload.keys().any(|key| !["text", "blocks"].contains(&key.as_str())) {
        return Err("invalid_payload");
    }
    let text = match payload.get("text") {
        None => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err("invalid_payload"),
    };
    if text.is_empty() && payload.get("blocks").is_none() {
        return Err("no_text");
    }
    if text.chars().count() > 40_000 {
        return Err("msg_too_long");
    }
    regret(text, problems);
    let blocks = match payload.get("blocks") {
        None => return Ok(()),
        Some(Value::Array(blocks)) if (1..=50).contains(&blocks.len()) => blocks,
        Some(_) => return Err("invalid_blocks"),
    };
    for block in blocks {
        let keys: Vec<&String> = block.as_object().ok_or("invalid_blocks")?.keys().collect();
        let object = block["text"].as_object().ok_or("invalid_blocks")?;
        let text = block["text"]["text"].as_str().ok_or("invalid_blocks")?;
        let fits = (1..=3000).contains(&text.chars().count());
        let known = keys.iter().all(|key| ["type", "text"].contains(&key.as_str()));
        let plain = object.keys().all(|key| ["type", "text"].contains(&key.as_str()));
        if block["type"] != "section" || block["text"]["type"] != "mrkdwn" || !fits || !known || !plain {
            return Err("invalid_blocks");
        }
        regret(text, problems);
    }
    Ok(())
}

pub fn regret(text: &str, problems: &mut Vec<String>) {
    let mut note = |what: &str| problems.push(format!("{what}: {text}"));
    if text.contains('<') {
        note("an unescaped <");
    }
    for (at, _) in text.match_indices('&') {
        if !["&amp;", "&lt;", "&gt;"].iter().any(|entity| text[at..].starts_with(entity)) {
            note("an unescaped &");
        }
    }
    if text.lines().any(|line| line.trim_start().starts_with('>')) {
        note("a quotation");
    }
    let lower = text.to_lowercase();
    if ["@channel", "@here", "@everyone"].iter().any(|mention| lower.contains(mention)) {
        note("a mention");
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        note("a control character");
    }
}
