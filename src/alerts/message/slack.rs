//! The payload of a Slack incoming webhook.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::Notice;
use super::layout::{Layout, plain};
use super::text::Dialect;

/// The longest text of a text object, in characters.
const LIMIT: usize = 3000;
const HEADING: &str = "*Metadata:*";

#[derive(Serialize)]
struct Payload {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<[Section; 1]>,
}

#[derive(Serialize)]
struct Section {
    #[serde(rename = "type")]
    kind: &'static str,
    text: TextObject,
}

#[derive(Serialize)]
struct TextObject {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
}

/// The JSON that a webhook takes: `text` for the notification, one section for the conversation.
pub fn slack_payload(notice: &Notice) -> String {
    if notice.plain {
        return to_json(&Payload { text: plain(notice, Dialect::Slack), blocks: None });
    }
    let frame = HEADING.len() + 8;
    let layout = Layout::new(notice, Dialect::Slack, LIMIT, frame);
    let parts = [format!("*{}*", layout.title), layout.body.clone(), layout.metadata(HEADING)];
    let shown: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let text = TextObject { kind: "mrkdwn", text: shown.join("\n\n") };
    to_json(&Payload { text: layout.headline, blocks: Some([Section { kind: "section", text }]) })
}

/// JSON with the separators of Python's `json.dumps`, as the receivers of these messages have always got it.
fn to_json(payload: &Payload) -> String {
    let mut out = Vec::with_capacity(512);
    // Strings and fixed structures always serialise, and writing to memory does not fail.
    let _ = payload.serialize(&mut Serializer::with_formatter(&mut out, Spaced));
    String::from_utf8(out).unwrap_or_default()
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
