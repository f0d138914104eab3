//! Collected metrics to the bytes of a scrape: text 0.0.4 and `OpenMetrics` 1.0.0, straight from OpenTelemetry's
//! `ResourceMetrics`.
//!
//! The catalogue's families come first, in its order and to the byte as Python's `prometheus_client` prints them; then
//! `target_info`; then the service's own instruments, named by OpenTelemetry's "Prometheus and `OpenMetrics`
//! Compatibility" page. Where that page leaves no room for a valid scrape (two types under one name, a name of the
//! catalogue, two equal series) something is left out, and one log line says so.

mod catalogue;
mod exemplar;
mod exponential;
mod family;
mod foreign;
mod labels;
mod names;
mod negotiation;
mod number;
mod render;
mod series;
mod text;

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what is written has to read back equal")]
mod tests;

use std::collections::BTreeSet;

use crate::metrics::catalog::{Group, Instrument};

pub(crate) use foreign::family_name;
pub(crate) use names::{on_scrape, sanitize_label};
pub(crate) use negotiation::accepts_gzip;
pub(crate) use render::Renderer;

/// How the scrape is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Prometheus' text format, 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type` of the response, to the byte.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Which families `/metrics` shows.
///
/// The default is for a second server of the same process, whose scrape must not count anything twice: the health group
/// and `trading_system_info`.
///
/// ```
/// use trading_telemetry::Families;
/// use trading_telemetry::metrics::catalog::Group;
///
/// assert_eq!(Families::default(), Families::of_groups([Group::Health, Group::System]));
/// assert_ne!(Families::default(), Families::all());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Families(Option<BTreeSet<&'static str>>);

impl Families {
    /// Everything that the service publishes, `target_info` and its own instruments included.
    pub const fn all() -> Self {
        Self(None)
    }

    /// The published families of these groups of the catalogue, and nothing else.
    pub fn of_groups(groups: impl IntoIterator<Item = Group>) -> Self {
        Self(Some(groups.into_iter().map(Group::as_str).collect()))
    }

    fn shows(&self, row: &Instrument) -> bool {
        self.0.as_ref().is_none_or(|groups| groups.contains(row.group.as_str()))
    }

    fn shows_the_rest(&self) -> bool {
        self.0.is_none()
    }
}

impl Default for Families {
    fn default() -> Self {
        Self::of_groups([Group::System, Group::Health])
    }
}

/// The families that `name[]` asks for, by the family's name or that of one of its samples.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameFilter(BTreeSet<Box<str>>);

impl NameFilter {
    fn takes(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// What one response is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Selection {
    pub(crate) families: Families,
    pub(crate) names: Option<NameFilter>,
}

impl Selection {
    /// Everything.
    pub(crate) const fn all() -> Self {
        Self { families: Families::all(), names: None }
    }
}
