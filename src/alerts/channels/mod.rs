//! Where alerts go: one [`Channel`] per service, which sends one message and says what became of it.
//!
//! A channel knows its service's protocol and nothing of queues, retries and pace; those belong to
//! [`delivery`](super::delivery), which acts on the [`Outcome`].

mod alertmanager;
mod failure;
mod http;
mod log;
mod slack;
mod telegram;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use alertmanager::Alertmanager;
pub use failure::{ChannelError, Failure};
pub(crate) use http::Endpoint;
pub use http::HttpSettings;
pub use log::LogChannel;
pub use slack::Slack;
pub use telegram::Telegram;

use super::delivery::Pace;
use super::event::Event;
use super::message::{Notice, Origin};

/// The future of [`Channel::send`].
pub type Sending<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A service that shows alerts to people.
pub trait Channel: fmt::Debug + Send + Sync {
    /// The name in settings, routes and metrics.
    fn name(&self) -> &'static str;

    /// How fast it may be sent to.
    fn pace(&self) -> Pace;

    /// Sends one message, once. Ends by itself: every wait inside has a limit.
    fn send<'a>(&'a self, notice: &'a Notice) -> Sending<'a>;

    /// Takes up the incidents that are open when it comes into use, in a tokio runtime and before the first message. For
    /// a service that forgets what is not repeated; any other has been told.
    fn resume(self: Arc<Self>, open: Vec<Event>, origin: &Arc<Origin>) {
        let _ = (open, origin);
    }
}

/// What became of a message, and with it what happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has it.
    Accepted,
    /// The service has enough: nothing at all may be sent for this long (or for a while, where it does not say).
    SlowDown(Option<Duration>),
    /// It may work later.
    TryAgain(Failure),
    /// Refused for a reason that the service does not document: it may work later, and the others may work before it.
    Unclear(Failure),
    /// It will never take this message in this form.
    Reformat(Failure),
    /// The recipient has another address, which the channel has learned: once more, at once.
    Moved,
    /// It will take no message at all until somebody repairs something.
    Dead(Failure),
}
