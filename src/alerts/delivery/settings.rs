//! How delivery behaves; every number is a setting.

use std::sync::Arc;
use std::time::Duration;

use super::pace::Backoff;
use crate::alerts::event::{AlertSeverity, Event};
use crate::alerts::message::Origin;

/// How alerts are delivered.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// Who sends.
    pub origin: Arc<Origin>,
    /// Which channels get what.
    pub routes: Routes,
    /// How many messages wait for a channel; beyond it the mildest are dropped. Those that go on with an incident of
    /// which the channel has told are not among them.
    pub queue: usize,
    /// How long a critical message is worth sending.
    pub critical_ttl: Duration,
    /// How long a warning is.
    pub ttl: Duration,
    /// How long information is.
    pub info_ttl: Duration,
    /// The waits after failures.
    pub backoff: Backoff,
    /// The longest pause that a channel's `Retry-After` is believed.
    pub longest_pause: Duration,
    /// How often a dead channel is tried.
    pub probe: Duration,
    /// From what age on a message says that it is late. One of an earlier process always does.
    pub delayed_after: Duration,
    /// After how long a critical message that a channel has not taken is told to the other channels.
    pub unsent_critical_after: Duration,
    /// How long a message waits for the disk before it goes out unrecorded.
    pub disk_patience: Duration,
    /// How long a critical message waits until an accepted one before it is off the disk, so that it alone could be sent
    /// twice after SIGKILL.
    pub critical_disk_patience: Duration,
    /// The longest that a channel's `send` may take; its own limits have to be shorter.
    pub send_limit: Duration,
}

impl DeliverySettings {
    /// How long a message of a severity is worth sending.
    pub(super) fn ttl(&self, severity: AlertSeverity) -> Duration {
        match severity {
            AlertSeverity::Critical => self.critical_ttl,
            AlertSeverity::Warning => self.ttl,
            AlertSeverity::Info => self.info_ttl,
        }
    }
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            origin: Arc::default(),
            routes: Routes::default(),
            queue: 1000,
            critical_ttl: Duration::from_hours(24),
            ttl: Duration::from_hours(1),
            info_ttl: Duration::from_hours(1),
            backoff: Backoff::default(),
            longest_pause: Duration::from_hours(1),
            probe: Duration::from_mins(10),
            delayed_after: Duration::from_mins(1),
            unsent_critical_after: Duration::from_mins(2),
            disk_patience: Duration::from_secs(5),
            critical_disk_patience: Duration::from_millis(250),
            send_limit: Duration::from_secs(30),
        }
    }
}

/// The channels of each severity; `None` is every channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Of critical messages.
    pub critical: Option<Vec<String>>,
    /// Of warnings.
    pub warning: Option<Vec<String>>,
    /// Of information.
    pub info: Option<Vec<String>>,
}

impl Routes {
    /// Whether `channel` gets `event`. Who heard of an incident's worst hears how it went on.
    pub fn lead_to(&self, channel: &str, event: &Event) -> bool {
        if let Some(chosen) = &event.channels {
            return chosen.iter().any(|name| name == channel);
        }
        [event.severity, event.worst_severity].into_iter().any(|severity| {
            let route = match severity {
                AlertSeverity::Critical => &self.critical,
                AlertSeverity::Warning => &self.warning,
                AlertSeverity::Info => &self.info,
            };
            route.as_ref().is_none_or(|channels| channels.iter().any(|name| name == channel))
        })
    }
}
