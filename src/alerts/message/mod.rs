//! What people read: an [`Event`] with its story, as the payload of each channel, to the byte.
//!
//! A direct alert shows title, message and metadata and nothing else. What comes from a rule continues the metadata
//! with what the engine knows. Text is hostile until it has passed `text`: nothing in it can mention anybody, break
//! the formatting of what follows, or push severity, title or incident id out of the message.

mod layout;
mod slack;
mod story;
mod telegram;
mod text;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use layout::details;
pub use slack::slack_payload;
pub use story::{Moment, Story};
pub use telegram::telegram_payload;
pub(crate) use text::in_words_unless_finite;
pub use text::python_float;

use super::event::{Event, EventKind};

/// Who sends: the `Service` and `Instance` of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The service's name; left out where empty.
    pub service: String,
    /// Which process of it; left out where empty.
    pub instance: String,
}

/// One message to one channel.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The newest state.
    pub event: Event,
    /// How it came to that, where more than one state was not delivered.
    pub story: Story,
    /// How late it is, where that is worth telling.
    pub delay: Option<Duration>,
    /// Who sends.
    pub origin: Arc<Origin>,
    /// As short plain text, because the channel refused the formatted message.
    pub plain: bool,
}

impl Notice {
    /// A message about `event` alone, in time.
    pub fn new(event: Event, origin: Arc<Origin>) -> Self {
        let story = Story::of(&event);
        Self { event, story, delay: None, origin, plain: false }
    }

    /// Whether somebody must wake up for it.
    pub fn is_loud(&self) -> bool {
        self.event.severity == super::event::AlertSeverity::Critical && self.event.kind != EventKind::Resolved
    }
}
