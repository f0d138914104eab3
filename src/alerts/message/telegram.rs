//! The body of Telegram's `sendMessage`: plain text whose bold parts are named by their place, so that nothing in it
//! needs escaping.

use serde::Serialize;

use super::Notice;
use super::layout::{Layout, plain};
use super::text::{Dialect, units_of};

/// The longest text, in UTF-16 units.
const LIMIT: usize = 4096;
const HEADING: &str = "Metadata:";

#[derive(Serialize)]
struct Payload<'a> {
    chat_id: &'a str,
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entities: Vec<Entity>,
    disable_notification: bool,
    link_preview_options: LinkPreview,
}

/// A part of the text, in UTF-16 units.
#[derive(Serialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: &'static str,
    offset: usize,
    length: usize,
}

#[derive(Serialize)]
struct LinkPreview {
    is_disabled: bool,
}

/// The JSON that `sendMessage` takes. Only what somebody must wake up for rings.
pub fn telegram_payload(notice: &Notice, chat_id: &str) -> String {
    let (text, entities) = if notice.plain {
        (plain(notice, Dialect::Telegram), Vec::new())
    } else {
        let layout = Layout::new(notice, Dialect::Telegram, LIMIT, HEADING.len() + 4);
        let mut text = layout.headline;
        let mut entities = vec![bold(0, &text)];
        // Telegram trims the text, which would move what the entities name.
        if !layout.body.is_empty() {
            text.push('\n');
            text.push_str(&layout.body);
        }
        if !layout.lines.is_empty() {
            text.push('\n');
            entities.push(bold(units_of(&text), HEADING));
            text.push_str(HEADING);
            for line in &layout.lines {
                text.push('\n');
                text.push_str(line);
            }
        }
        (text, entities)
    };
    let link_preview_options = LinkPreview { is_disabled: true };
    let payload =
        Payload { chat_id, text, entities, disable_notification: !notice.is_loud(), link_preview_options };
    serde_json::to_string(&payload).unwrap_or_default()
}

fn bold(offset: usize, text: &str) -> Entity {
    Entity { kind: "bold", offset, length: units_of(text) }
}
