//! What a service does with alerts.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Notify, mpsc, oneshot};

use super::inbox::Inbox;
use super::subscribers::Subscribers;
use super::view::{IncidentView, View};
use crate::alerts::channels::ChannelError;
use crate::alerts::delivery::Drained;
use crate::alerts::direct::DirectAlert;
use crate::alerts::event::{AlertSeverity, Event, MetadataValue};
use crate::alerts::rule::RuleError;
use crate::alerts::silence::Silence;
use crate::orders::Identity;

/// Sends alerts, and shows and silences incidents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub(super) shared: Arc<Shared>,
    /// With the last handle the engine's thread ends.
    commands: mpsc::UnboundedSender<Command>,
}

/// Between the callers and the engine's thread.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    pub(super) wake: Notify,
    pub(super) subscribers: Subscribers,
    pub(super) view: View,
    /// The names of all rules.
    pub(super) rules: OnceLock<Vec<String>>,
}

/// What only the engine's thread can do.
#[derive(Debug)]
pub(super) enum Command {
    Test(String, oneshot::Sender<Result<(), ChannelError>>),
    Silence(Silence),
    EndSilence(String, oneshot::Sender<bool>),
    Slack(SecretString),
    Telegram(SecretString, SecretString),
    Shutdown(Duration, std::sync::mpsc::Sender<Drained>),
}

/// The engine's end of the commands.
pub(super) type Commands = mpsc::UnboundedReceiver<Command>;

impl Alerts {
    /// A handle, and what the engine that it is for has to listen to.
    pub(super) fn new() -> (Self, Commands) {
        let (commands, received) = mpsc::unbounded_channel();
        (Self { shared: Arc::default(), commands }, received)
    }

    /// A handle of no engine: whoever has it may take the alerts out himself.
    pub(crate) fn detached() -> Self {
        Self::new().0
    }

    /// Sends an alert: title, message and metadata, and nothing added. The same one within the window of
    /// `alerts.dedup_window_seconds` is sent once, with a count. One with the title of a rule joins its incident.
    ///
    /// Costs microseconds; does no I/O and never blocks.
    pub fn send_alert<K: Into<String>>(
        &self,
        severity: AlertSeverity,
        title: impl Into<String>,
        message: impl Into<String>,
        metadata: impl IntoIterator<Item = (K, MetadataValue)>,
    ) {
        let mut alert = DirectAlert::new(severity, title, message);
        alert.metadata = metadata.into_iter().map(|(key, value)| (key.into(), value)).collect();
        self.send(alert);
    }

    /// Sends an alert that says more of itself: a key, a rule that it joins, channels of its own. The current order and
    /// trace are filled in where it names none. Costs as [`Self::send_alert`].
    pub fn send(&self, mut alert: DirectAlert) {
        Identity::with_current(|order, span| {
            if alert.order_id.is_none() {
                alert.order_id = order.map(|order| order.order_id().to_owned());
            }
            if alert.trace_id.is_none() {
                alert.trace_id = span.filter(|span| span.is_valid()).map(|span| span.trace_id().to_string());
            }
        });
        self.shared.inbox.push(alert);
        self.shared.wake.notify_one();
    }

    /// The open incidents, as of the last evaluation.
    pub fn open_incidents(&self) -> Vec<IncidentView> {
        self.shared.view.open()
    }

    /// Calls `act` with each change of an incident and each direct alert, on a thread of its own: to stop trading, say,
    /// with no network between.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn subscribe(&self, act: impl FnMut(&Event) + Send + 'static) -> std::io::Result<()> {
        self.shared.subscribers.add(act)
    }

    /// Mutes messages until the silence ends, also past a restart.
    ///
    /// # Errors
    ///
    /// When it names a rule that does not exist.
    pub fn silence(&self, silence: Silence) -> Result<(), RuleError> {
        if let Some(rules) = self.shared.rules.get() {
            silence.check_rule(rules)?;
        }
        self.command(Command::Silence(silence));
        Ok(())
    }

    /// Ends a silence that a call made; `false` where there is none of that id.
    pub fn end_silence(&self, id: &str) -> impl Future<Output = bool> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::EndSilence(id.to_owned(), reply));
        async move { answer.await.unwrap_or(false) }
    }

    /// Sends a message marked `[TEST]` through a channel and waits for its result.
    ///
    /// # Errors
    ///
    /// When there is no such channel, when its service cannot be reached, or refuses.
    pub fn test_channel(
        &self,
        channel: &str,
    ) -> impl Future<Output = Result<(), ChannelError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let channel = channel.to_owned();
        self.command(Command::Test(channel.clone(), reply));
        async move { answer.await.unwrap_or_else(|_| Err(ChannelError::closed(&channel))) }
    }

    /// Sends to Slack from now on, with this webhook.
    pub fn configure_slack(&self, webhook_url: impl Into<SecretString>) {
        self.command(Command::Slack(webhook_url.into()));
    }

    /// Sends to Telegram from now on, as this bot to this chat.
    pub fn configure_telegram(&self, bot_token: impl Into<SecretString>, chat_id: impl Into<SecretString>) {
        self.command(Command::Telegram(bot_token.into(), chat_id.into()));
    }

    pub(super) fn command(&self, command: Command) {
        // After the shutdown nobody listens, and whoever waits for an answer gets none.
        let _ = self.commands.send(command);
    }
}
