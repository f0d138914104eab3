//! A family on its way to the scrape: its names, its type, and the metrics that make it up. The points stay where the
//! SDK put them.

use std::borrow::Cow;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};

use super::{Format, NameFilter};
use crate::metrics::Figures;
use crate::metrics::catalog::Instrument;

/// A family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    Info,
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    /// Its name on the `# TYPE` line.
    pub(super) const fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Info, Format::OpenMetrics) => "info",
            (Self::Info | Self::Gauge, _) => "gauge",
            (Self::Counter, _) => "counter",
            (Self::Histogram, _) => "histogram",
        }
    }

    /// Whether points of this shape can be written as this type.
    pub(super) fn fits(self, data: &AggregatedMetrics) -> bool {
        (self == Self::Histogram) == is_histogram(data)
    }

    /// What is appended to a family's name to make those of its samples in text 0.0.4.
    pub(super) const fn sample_suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Histogram => &["_bucket", "_count", "_sum"],
            _ => &[],
        }
    }
}

/// One metric of a family.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) metric: &'a Metric,
    /// Labels that tell its scope, where the family occurs in several.
    pub(super) scope: Vec<KeyValue>,
}

/// A family of series.
#[derive(Debug)]
pub(super) struct Family<'a> {
    /// Its name in text 0.0.4, which is also that of a counter's or an info's samples.
    pub(super) text_name: Cow<'a, str>,
    pub(super) openmetrics_name: Cow<'a, str>,
    pub(super) kind: Type,
    pub(super) help: &'a str,
    pub(super) unit: Option<String>,
    /// Its row, if it is the catalogue's.
    pub(super) row: Option<&'static Instrument>,
    /// Its series, if it is the catalogue's.
    pub(super) figures: Option<&'a Figures>,
    /// Its series, if it is the service's own.
    pub(super) parts: Vec<Part<'a>>,
}

impl Family<'_> {
    pub(super) fn name(&self, format: Format) -> &str {
        match format {
            Format::Text => &self.text_name,
            Format::OpenMetrics => &self.openmetrics_name,
        }
    }

    /// Every name that no other family may have, in either format.
    pub(super) fn claims(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let samples =
            self.kind.sample_suffixes().iter().map(|suffix| format!("{}{suffix}", self.text_name).into());
        // OpenMetrics keeps `_created` for these whether or not anybody writes it.
        let created = matches!(self.kind, Type::Counter | Type::Histogram)
            .then(|| Cow::Owned(format!("{}_created", self.openmetrics_name)));
        let names = [Cow::Borrowed(&*self.text_name), Cow::Borrowed(&*self.openmetrics_name)];
        names.into_iter().chain(samples).chain(created)
    }

    pub(super) fn is_asked_for(&self, names: Option<&NameFilter>) -> bool {
        names.is_none_or(|names| self.claims().any(|name| names.takes(&name)))
    }
}

/// Does the same for each of the SDK's three number types.
macro_rules! each_number {
    ($aggregated:expr, $data:ident => $body:expr) => {
        match $aggregated {
            opentelemetry_sdk::metrics::data::AggregatedMetrics::F64($data) => $body,
            opentelemetry_sdk::metrics::data::AggregatedMetrics::U64($data) => $body,
            opentelemetry_sdk::metrics::data::AggregatedMetrics::I64($data) => $body,
        }
    };
}
pub(super) use each_number;

fn is_histogram(data: &AggregatedMetrics) -> bool {
    each_number!(data, data => matches!(data, MetricData::Histogram(_) | MetricData::ExponentialHistogram(_)))
}
