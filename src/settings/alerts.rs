//! `alerts`: who is told, how often, and what happens when they cannot be reached.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::leaf::{Leaf, Mismatch};
use super::logging::for_service;
use super::node::{Node, Raw};
use super::tree::{choice, section};
use super::url::HttpUrl;

section! {
    /// Alerts: who is told, how often, and what happens when they cannot be reached.
    pub struct AlertSettings {
        /// `auto` (log, and each channel whose secrets or URLs are set), or a list of log, slack, telegram,
        /// alertmanager. The log is always told.
        channels: Channels = Channels::Auto;
        /// Rules; where there is no such file, the built-in ones.
        rules_file: PathBuf = PathBuf::from("config/alerts.yaml");
        /// Silences, read again when the file changes.
        silences_file: PathBuf = PathBuf::from("config/silences.yaml");
        /// Messages that wait for their channel survive a restart in this file; `{service}` is the service's name.
        outbox_file: String = "state/{service}.redb".to_owned();
        /// Time between two evaluations of the rules; what matters most is evaluated at once.
        evaluation_interval as "evaluation_interval_seconds": Duration = Duration::from_secs(1), from 0.05 to 3600.0;
        /// Which channels each severity goes to.
        routes: RouteSettings = RouteSettings::default();
        /// How often an incident that lasts is told again.
        reminders: ReminderSettings = ReminderSettings::default();
        /// How long an unsent message is worth sending.
        ttl: TtlSettings = TtlSettings::default();
        /// Direct alerts that are equal within this time are sent once, with a count.
        dedup_window as "dedup_window_seconds": Duration = Duration::from_mins(5);
        /// When a rule that comes and goes is told once, then kept quiet until it settles.
        flapping: FlappingSettings = FlappingSettings::default();
        /// Messages that may wait; when there are more, the least severe goes first.
        queue_messages: usize = 1000, from 1.0 to 1_000_000.0;
        /// Time to connect to a channel.
        connect_timeout as "connect_timeout_seconds": Duration = Duration::from_secs(3);
        /// Time for one request to a channel.
        request_timeout as "request_timeout_seconds": Duration = Duration::from_secs(10);
        /// URL that is called after each evaluation, so that somebody else notices a dead process. A secret:
        /// `heartbeat_url_file`, or the variable `SA_ALERTS__HEARTBEAT_URL`.
        heartbeat_url: Option<SecretString> = None;
        /// Shortest time between two such calls.
        heartbeat_interval as "heartbeat_interval_seconds": Duration = Duration::from_secs(30);
        /// Slack.
        slack: SlackSettings = SlackSettings::default();
        /// Telegram.
        telegram: TelegramSettings = TelegramSettings::default();
        /// Alertmanager.
        alertmanager: AlertmanagerSettings = AlertmanagerSettings::default();
    }
}

section! {
    /// Which channels each severity goes to: `all` that are configured, or a list of them.
    pub struct RouteSettings {
        /// System failure, kill switch, account violation.
        critical: Route = Route::All;
        /// A risk threshold is breached.
        warning: Route = Route::All;
        /// Routine events.
        info: Route = Route::All;
    }
}

section! {
    /// How often an incident that lasts is told again; `null` is never.
    pub struct ReminderSettings {
        /// Critical.
        critical as "critical_seconds": Option<Duration> = Some(Duration::from_mins(30));
        /// Warning.
        warning as "warning_seconds": Option<Duration> = Some(Duration::from_hours(4));
        /// Info.
        info as "info_seconds": Option<Duration> = None;
    }
}

section! {
    /// How long an unsent message is worth sending.
    pub struct TtlSettings {
        /// Critical.
        critical as "critical_seconds": Duration = Duration::from_hours(24);
        /// Warning.
        warning as "warning_seconds": Duration = Duration::from_hours(1);
        /// Info.
        info as "info_seconds": Duration = Duration::from_hours(1);
    }
}

section! {
    /// When a rule flaps: more than so many changes within the window.
    pub struct FlappingSettings {
        /// Changes that are still told.
        changes: u32 = 6, from 1.0 to 10_000.0;
        /// The window.
        window as "window_seconds": Duration = Duration::from_mins(10);
    }
}

section! {
    /// Slack's incoming webhook.
    pub struct SlackSettings {
        /// The webhook, or a proxy in its place (plain http to loopback only). A secret: the variable
        /// `SLACK_WEBHOOK_URL`, or `SLACK_WEBHOOK_URL_FILE`.
        webhook_url: Option<SecretString> = None;
        /// Messages a second.
        pace_per_second: f64 = 1.0, from 0.001 to 1000.0;
        /// Messages at once after a pause; the last is kept for the kill switch, the one before it for what is
        /// critical.
        burst: u32 = 3, from 1.0 to 1000.0;
    }
}

section! {
    /// A Telegram bot.
    pub struct TelegramSettings {
        /// The bot's token. A secret: the variable `TELEGRAM_BOT_TOKEN`, or `TELEGRAM_BOT_TOKEN_FILE`.
        bot_token: Option<SecretString> = None;
        /// The chat, negative for a group. From the variable `TELEGRAM_CHAT_ID`, or `TELEGRAM_CHAT_ID_FILE`.
        chat_id: Option<SecretString> = None;
        /// Telegram, or a proxy in its place (plain http to loopback only).
        api_base_url: HttpUrl = HttpUrl::fixed("https://api.telegram.org");
        /// Messages a second.
        pace_per_second: f64 = 1.0, from 0.001 to 1000.0;
        /// Messages a minute in a group.
        group_pace_per_minute: f64 = 20.0, from 0.01 to 60_000.0;
        /// Messages at once after a pause; the last is kept for the kill switch, the one before it for what is
        /// critical.
        burst: u32 = 3, from 1.0 to 1000.0;
    }
}

section! {
    /// Alertmanager, where more than one machine watches.
    pub struct AlertmanagerSettings {
        /// Every Alertmanager of the cluster, such as `http://alertmanager:9093`.
        urls: Vec<HttpUrl> = Vec::new();
        /// Token that it asks for.
        bearer_token: Option<SecretString> = None;
        /// Time after which an open incident is posted again; less than its `resolve_timeout`.
        resend_interval as "resend_interval_seconds": Duration = Duration::from_mins(1);
    }
}

choice! {
    /// Somebody who is told.
    pub enum ChannelKind {
        /// A log line.
        Log = "log",
        /// Slack.
        Slack = "slack",
        /// Telegram.
        Telegram = "telegram",
        /// Alertmanager, which tells others.
        Alertmanager = "alertmanager",
    }
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channels {
    /// The log, and each channel whose secrets or URLs are set.
    Auto,
    /// These, and the log.
    Only(Vec<ChannelKind>),
}

/// Where a severity goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To every channel that is configured.
    All,
    /// To these, as far as they are configured, and to the log.
    Only(Vec<ChannelKind>),
}

/// A list that one word stands for: `auto`, `all`.
fn set_list(
    node: &Node,
    word: &str,
    range: Option<(f64, f64)>,
) -> Result<Option<Vec<ChannelKind>>, Mismatch> {
    let alone = match &node.raw {
        Raw::List(items) if items.len() == 1 => items[0].text(),
        _ => node.text(),
    };
    if alone.is_some_and(|text| text.trim() == word) {
        return Ok(None);
    }
    let mut channels = Vec::new();
    channels.set(node, range).map_err(|mismatch| Mismatch {
        message: mismatch.message.replacen("one of ", &format!("`{word}` or a list of "), 1),
        ..mismatch
    })?;
    Ok(Some(channels))
}

impl Leaf for Channels {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        *self = set_list(node, "auto", range)?.map_or(Self::Auto, Self::Only);
        Ok(())
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Only(channels) => Leaf::show(channels),
        }
    }
}

impl Leaf for Route {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        *self = set_list(node, "all", range)?.map_or(Self::All, Self::Only);
        Ok(())
    }

    fn show(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Only(channels) => Leaf::show(channels),
        }
    }
}

impl Route {
    /// Whether the severity goes to `channel`, if that is configured.
    pub fn includes(&self, channel: ChannelKind) -> bool {
        match self {
            Self::All => true,
            Self::Only(channels) => channel == ChannelKind::Log || channels.contains(&channel),
        }
    }
}

/// Who calls people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pager {
    /// This process, over Slack and Telegram.
    Engine,
    /// Alertmanager, to which this process posts its incidents.
    Alertmanager,
}

impl AlertSettings {
    /// Every channel that is told, the log first.
    pub fn active_channels(&self) -> Vec<ChannelKind> {
        let active = |channel: ChannelKind| match &self.channels {
            _ if channel == ChannelKind::Log => true,
            Channels::Auto => self.missing_for(channel).is_empty(),
            Channels::Only(channels) => channels.contains(&channel),
        };
        ChannelKind::ALL.iter().copied().filter(|channel| active(*channel)).collect()
    }

    /// The variables that `channel` waits for.
    pub fn missing_for(&self, channel: ChannelKind) -> Vec<&'static str> {
        let needs: &[(bool, &'static str)] = match channel {
            ChannelKind::Log => &[],
            ChannelKind::Slack => &[(self.slack.webhook_url.is_none(), "SLACK_WEBHOOK_URL")],
            ChannelKind::Telegram => &[
                (self.telegram.bot_token.is_none(), "TELEGRAM_BOT_TOKEN"),
                (self.telegram.chat_id.is_none(), "TELEGRAM_CHAT_ID"),
            ],
            ChannelKind::Alertmanager => {
                &[(self.alertmanager.urls.is_empty(), "SA_ALERTS__ALERTMANAGER__URLS")]
            }
        };
        needs.iter().filter(|(missing, _)| *missing).map(|(_, variable)| *variable).collect()
    }

    /// Who calls people: Alertmanager where it is a channel and nobody else is.
    pub fn pager(&self) -> Pager {
        let active = self.active_channels();
        let own = active.iter().any(|channel| matches!(channel, ChannelKind::Slack | ChannelKind::Telegram));
        if active.contains(&ChannelKind::Alertmanager) && !own { Pager::Alertmanager } else { Pager::Engine }
    }

    /// The outbox of `service`.
    pub fn outbox_path(&self, service: &str) -> PathBuf {
        PathBuf::from(for_service(&self.outbox_file, service))
    }
}
