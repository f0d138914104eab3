//! `monitoring`, `system` and `metrics`: the server, what this service is, and what it publishes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use secrecy::SecretString;

use super::leaf::{Leaf, Mismatch, Scalar, list};
use super::node::Node;
use super::tree::{choice, section};
use super::values::choose;
use crate::metrics::catalog::Group;

section! {
    /// The server that Prometheus scrapes and probes ask.
    pub struct MonitoringSettings {
        /// Port of `/metrics`, `/health`, `/ready` and `/alerts`.
        prometheus_port: u16 = 8001, from 1.0 to 65_535.0;
        /// Address to listen on, or a list of them. Beyond loopback, set a bearer token: equity and P&L are on it.
        prometheus_host: Vec<IpAddr> = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        /// Token that every request but `/health` and `/ready` must bring (`Authorization: Bearer …`). Better kept
        /// out of this file: `bearer_token_file`, or the variable `SA_MONITORING__BEARER_TOKEN`.
        bearer_token: Option<SecretString> = None;
        /// Whether a port that is in use stops the start. Else it is tried again each second.
        required: bool = false;
        /// Time between two checks of each component, where `health.checks` does not say otherwise.
        health_check_interval as "health_check_interval_seconds": Duration = Duration::from_mins(1),
            from 0.1 to 86_400.0;
        /// What `/metrics` shows on another server that mounts our handler (the API's port 8000): `health` families
        /// and `trading_system_info` alone, so that nothing is counted twice with both ports scraped, or `all`.
        mounted_metrics: MountedMetrics = MountedMetrics::Health;
    }
}

choice! {
    /// What the handler shows that another server mounts.
    pub enum MountedMetrics {
        /// The health families and `trading_system_info`.
        Health = "health",
        /// Everything.
        All = "all",
    }
}

section! {
    /// What this service is. Feeds `trading_system_info` and the resource of traces, logs and metrics.
    pub struct SystemSettings {
        /// Name of the service; `null` takes the program's. `OTEL_SERVICE_NAME` wins.
        service_name: Option<String> = None;
        /// Version of the trading system.
        version: String = "unknown".to_owned();
        /// Where it runs: production, paper, development.
        environment: String = "development".to_owned();
        /// Broker that it trades with.
        broker: String = "unknown".to_owned();
        /// Time for everything that a shutdown has to flush and to send.
        shutdown_timeout as "shutdown_timeout_seconds": Duration = Duration::from_secs(5), from 0.1 to 300.0;
        /// Turns metrics, traces and alerts off, which is said once at error level. `OTEL_SDK_DISABLED` wins.
        telemetry_disabled: bool = false;
    }
}

section! {
    /// Which instruments this service publishes.
    pub struct MetricsSettings {
        /// Strategies that have series of their own; what is over the cap is counted under `other`.
        max_strategies: usize = 64, from 1.0 to 10_000.0;
        /// Groups to publish, zeros included, and to evaluate rules on: `all`, or some of orders, portfolio, risk,
        /// execution, ml, health. Among several processes each group has one owner.
        groups: Groups = Groups::all();
    }
}

/// The groups of instruments that a service publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// Every group.
    pub fn all() -> Self {
        Self(Group::ALL.to_vec())
    }

    /// These groups, and those that every service publishes.
    pub fn of(groups: &[Group]) -> Self {
        Self(
            Group::ALL
                .iter()
                .copied()
                .filter(|group| groups.contains(group) || !group.is_optional())
                .collect(),
        )
    }

    /// Whether `group` is published.
    pub fn contains(&self, group: Group) -> bool {
        self.0.contains(&group)
    }

    /// The groups in the order of the scrape.
    pub fn iter(&self) -> impl Iterator<Item = Group> + '_ {
        self.0.iter().copied()
    }
}

/// A word in `metrics.groups`.
#[derive(Clone, Copy)]
enum Word {
    All,
    One(Group),
}

impl Scalar for Word {
    fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        let words: Vec<Self> =
            [Self::All].into_iter().chain(Group::ALL.iter().copied().map(Self::One)).collect();
        choose(text.trim(), &words, |word| match word {
            Self::All => "all",
            Self::One(group) => group.as_str(),
        })
    }

    fn show(&self) -> String {
        String::new()
    }
}

impl Leaf for Groups {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        let mut groups = Vec::new();
        for item in list(node) {
            let mut word = Word::All;
            word.set(item.as_ref(), range)?;
            match word {
                Word::All => groups.extend(Group::ALL),
                Word::One(group) => groups.push(group),
            }
        }
        *self = Self::of(&groups);
        Ok(())
    }

    fn show(&self) -> String {
        if *self == Self::all() {
            return "all".to_owned();
        }
        let optional = self.iter().filter(|group| group.is_optional());
        format!("[{}]", optional.map(Group::as_str).collect::<Vec<_>>().join(", "))
    }
}
