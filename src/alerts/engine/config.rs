//! What the engine is started with, from the settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::Components;
use crate::alerts::channels::{Alertmanager, Channel, ChannelError, HttpSettings, Outcome, Slack, Telegram};
use crate::alerts::delivery::{DeliverySettings, Pace, Routes, test_event};
use crate::alerts::evaluation::Tuning;
use crate::alerts::message::{Notice, Origin};
use crate::alerts::rule::{RuleErrors, RuleSet, text_of};
use crate::clock::{Clock, SystemClock};
use crate::settings::{AlertSettings, ChannelKind, HealthSettings, HttpUrl, Route, Settings};

/// How much longer than a request a channel may take: one that posts to several services waits for the last of them.
const SEND_MARGIN: Duration = Duration::from_secs(5);

/// What the engine is started with.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub(super) policy: Policy,
    pub(super) delivery: DeliverySettings,
    pub(super) channels: ChannelSettings,
    pub(super) http: HttpSettings,
    pub(super) interval: Duration,
    pub(super) outbox: PathBuf,
    pub(super) silences_file: PathBuf,
    pub(super) heartbeat: Option<Heartbeat>,
}

/// What decides: the rules, and what holds for all of them.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(super) rules: RuleSet,
    pub(super) tuning: Tuning,
    pub(super) health: HealthSettings,
    pub(super) components: Components,
}

impl Policy {
    /// The built-in rules, with those of a file over them: its name, for errors, and its text.
    pub(crate) fn new(
        file: Option<(&str, &str)>,
        settings: &Settings,
        components: Components,
    ) -> Result<Self, RuleErrors> {
        Ok(Self {
            rules: RuleSet::load_with(file, &settings.alerts.reminders).into_result()?,
            tuning: Tuning::new(settings),
            health: settings.health.clone(),
            components,
        })
    }
}

/// The URL that is called after evaluations.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    pub(super) url: SecretString,
    pub(super) interval: Duration,
}

/// The channels besides the log.
#[derive(Clone, Debug)]
pub(super) struct ChannelSettings {
    settings: AlertSettings,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("the alert rules cannot be read from {file}")]
    RulesUnreadable { file: String, source: std::io::Error },
    #[error(transparent)]
    Rules(#[from] RuleErrors),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("no thread for the alerts can be started, raise the limit of threads")]
    Thread(#[source] std::io::Error),
}

impl EngineConfig {
    /// Reads the rules and checks what can be checked before anything is started.
    pub(crate) fn new(
        service: &str,
        instance: &str,
        settings: &Settings,
        components: Components,
    ) -> Result<Self, EngineError> {
        let alerts = &settings.alerts;
        let route = |route: &Route| match route {
            Route::All => None,
            Route::Only(channels) => {
                Some(channels.iter().map(|channel| channel.as_str().to_owned()).collect())
            }
        };
        Ok(Self {
            policy: policy(settings, components)?,
            delivery: DeliverySettings {
                origin: Arc::new(Origin { service: service.to_owned(), instance: instance.to_owned() }),
                routes: Routes {
                    critical: route(&alerts.routes.critical),
                    warning: route(&alerts.routes.warning),
                    info: route(&alerts.routes.info),
                },
                queue: alerts.queue_messages,
                critical_ttl: alerts.ttl.critical,
                ttl: alerts.ttl.warning,
                info_ttl: alerts.ttl.info,
                send_limit: alerts.request_timeout.saturating_add(SEND_MARGIN),
                ..DeliverySettings::default()
            },
            channels: ChannelSettings { settings: alerts.clone() },
            http: http(alerts),
            interval: alerts.evaluation_interval,
            outbox: alerts.outbox_path(service),
            silences_file: alerts.silences_file.clone(),
            heartbeat: alerts
                .heartbeat_url
                .clone()
                .map(|url| Heartbeat { url, interval: alerts.heartbeat_interval }),
        })
    }
}

/// Sends a message marked `[TEST]` through a channel of the settings, without a running engine, and waits for its result.
/// Must be called within a tokio runtime.
///
/// # Errors
///
/// When the channel is not configured or its settings are wrong, when its service cannot be reached, or refuses.
pub async fn test_channel(settings: &Settings, service: &str, channel: &str) -> Result<(), ChannelError> {
    let alerts = &settings.alerts;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let channels = ChannelSettings { settings: alerts.clone() }.build(&http(alerts), &clock)?;
    let channels = channels.into_iter().find(|known| known.name() == channel);
    let found = channels.ok_or_else(|| ChannelError::unknown(channel))?;
    let origin = Origin { service: service.to_owned(), instance: std::process::id().to_string() };
    let notice = Notice::new(test_event(channel, clock.wall()), Arc::new(origin));
    let mut outcome = found.send(&notice).await;
    if outcome == Outcome::Moved {
        outcome = found.send(&notice).await;
    }
    ChannelError::of(channel, outcome).map_or(Ok(()), Err)
}

fn http(alerts: &AlertSettings) -> HttpSettings {
    HttpSettings {
        connect_timeout: alerts.connect_timeout,
        request_timeout: alerts.request_timeout,
        proxy: None,
    }
}

/// With the rules of the file that the settings name, where there is one.
fn policy(settings: &Settings, components: Components) -> Result<Policy, EngineError> {
    let file = &settings.alerts.rules_file;
    let name = file.display().to_string();
    match std::fs::read(file) {
        Ok(bytes) => Ok(Policy::new(Some((&name, &text_of(&name, bytes)?)), settings, components)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Policy::new(None, settings, components)?)
        }
        Err(source) => Err(EngineError::RulesUnreadable { file: name, source }),
    }
}

impl ChannelSettings {
    /// The channels that the settings name or have secrets for.
    pub(super) fn build(
        &self,
        http: &HttpSettings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Vec<Arc<dyn Channel>>, ChannelError> {
        let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
        for kind in self.settings.active_channels() {
            match kind {
                ChannelKind::Slack => {
                    if let Some(url) = &self.settings.slack.webhook_url {
                        let slack = &self.settings.slack;
                        let pace = Pace::new(slack.burst, every(slack.pace_per_second));
                        channels.push(Arc::new(Slack::new(url.clone(), http)?.with_pace(pace)));
                    }
                }
                ChannelKind::Telegram => {
                    let telegram = &self.settings.telegram;
                    if let (Some(token), Some(chat)) = (&telegram.bot_token, &telegram.chat_id) {
                        let chat = chat.expose_secret();
                        let mut pace = Pace::new(telegram.burst, every(telegram.pace_per_second));
                        if Telegram::is_group(chat) {
                            let per_second = telegram.group_pace_per_minute / 60.0;
                            pace = pace.and(telegram.burst, every(per_second));
                        }
                        let base = telegram.api_base_url.as_str();
                        channels.push(Arc::new(Telegram::new(base, token, chat, http)?.with_pace(pace)));
                    }
                }
                ChannelKind::Alertmanager => {
                    let alertmanager = &self.settings.alertmanager;
                    channels.push(Arc::new(Alertmanager::new(
                        alertmanager.urls.iter().map(HttpUrl::as_str),
                        alertmanager.bearer_token.as_ref(),
                        alertmanager.resend_interval,
                        http,
                        Arc::clone(clock),
                    )?));
                }
                ChannelKind::Log => {}
            }
        }
        Ok(channels)
    }

    pub(super) fn set_slack(&mut self, webhook_url: SecretString) {
        self.settings.slack.webhook_url = Some(webhook_url);
        self.add(ChannelKind::Slack);
    }

    pub(super) fn set_telegram(&mut self, bot_token: SecretString, chat_id: SecretString) {
        self.settings.telegram.bot_token = Some(bot_token);
        self.settings.telegram.chat_id = Some(chat_id);
        self.add(ChannelKind::Telegram);
    }

    fn add(&mut self, kind: ChannelKind) {
        if let crate::settings::Channels::Only(channels) = &mut self.settings.channels
            && !channels.contains(&kind)
        {
            channels.push(kind);
        }
    }
}

/// The time between two messages at a pace.
fn every(per_second: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::engine::components::ComponentFacts;

    #[test]
    fn a_group_keeps_to_its_pace_by_its_id_and_by_its_name() {
        let pace = |chat: &str| {
            let mut settings = ChannelSettings { settings: AlertSettings::default() };
            settings.set_telegram("12345678:AA".into(), chat.into());
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            settings.build(&HttpSettings::default(), &clock).unwrap().pop().unwrap().pace()
        };
        assert_eq!(pace("-1001234567890"), pace("@desk_alerts"));
        assert_ne!(pace("4711"), pace("@desk_alerts"));
    }

    #[test]
    fn a_request_may_take_as_long_as_its_setting_says() {
        let mut settings = Settings::default();
        settings.alerts.request_timeout = Duration::from_mins(2);
        let components = Components::new(|_| ComponentFacts::default());
        let config = EngineConfig::new("risk", "1", &settings, components).unwrap();
        assert!(config.delivery.send_limit > Duration::from_mins(2));
    }
}
