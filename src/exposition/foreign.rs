//! The families of the service's own instruments: what OpenTelemetry allows and a scrape does not is settled here.

use std::collections::{HashMap, HashSet};

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};

use super::catalogue::is_reserved;
use super::family::{Family, Part, Type, each_number};
use super::names::{Names, Suffix, family_names};
use crate::told::ToldOf;

/// What of the families is not on the scrape.
#[derive(Debug, Default)]
pub(super) struct LeftOut(ToldOf);

impl LeftOut {
    /// Logs that something of a family was left out, the first time.
    pub(super) fn tell(&mut self, family: &str, reason: &'static str) {
        self.0.once(family, reason, || {
            tracing::warn!(target: "trading_telemetry", family, reason, "metric_left_out_of_scrape");
        });
    }
}

struct Candidate<'a> {
    names: Names,
    kind: Type,
    scope: &'a InstrumentationScope,
    metric: &'a Metric,
}

/// The families, sorted by name. The SDK's own order changes from process to process, and who wins a conflict must not.
pub(super) fn families<'a>(foreign: &'a ResourceMetrics, left_out: &mut LeftOut) -> Vec<Family<'a>> {
    let mut candidates = Vec::new();
    for scope in foreign.scope_metrics() {
        for metric in scope.metrics() {
            match classify(metric.data()) {
                Some((kind, suffix)) => {
                    let names = family_names(metric.name(), metric.unit(), suffix);
                    candidates.push(Candidate { names, kind, scope: scope.scope(), metric });
                }
                None => left_out.tell(metric.name(), "its temporality is delta; a scrape is cumulative"),
            }
        }
    }
    candidates.sort_by(|left, right| {
        let key = |one: &Candidate<'a>| {
            (one.scope.name(), one.scope.version(), one.metric.name(), one.metric.unit())
        };
        left.names.text.cmp(&right.names.text).then_with(|| key(left).cmp(&key(right)))
    });

    let mut taken: HashSet<String> = HashSet::new();
    let mut families = Vec::new();
    for group in candidates.chunk_by(|left, right| left.names.text == right.names.text) {
        let Some(family) = merge(group, left_out) else { continue };
        let claims: HashSet<String> = family.claims().map(Into::into).collect();
        if claims.iter().any(|name| is_reserved(name)) {
            left_out.tell(&family.text_name, "the name belongs to a built-in family; rename the instrument");
        } else if claims.iter().any(|name| taken.contains(name)) {
            left_out
                .tell(&family.text_name, "another instrument has a sample of that name; rename one of them");
        } else {
            taken.extend(claims);
            families.push(family);
        }
    }
    families
}

/// The name of the family that an instrument's series are in, on a text scrape.
pub(crate) fn family_name(metric: &Metric) -> String {
    let suffix = classify(metric.data()).map_or(Suffix::Unit, |(_, suffix)| suffix);
    family_names(metric.name(), metric.unit(), suffix).text
}

fn classify(data: &AggregatedMetrics) -> Option<(Type, Suffix)> {
    fn of<T>(data: &MetricData<T>) -> Option<(Type, Suffix)> {
        let (kind, suffix, temporality) = match data {
            MetricData::Gauge(_) => return Some((Type::Gauge, Suffix::Ratio)),
            MetricData::Sum(sum) if sum.is_monotonic() => (Type::Counter, Suffix::Total, sum.temporality()),
            MetricData::Sum(sum) => (Type::Gauge, Suffix::Unit, sum.temporality()),
            MetricData::Histogram(histogram) => (Type::Histogram, Suffix::Unit, histogram.temporality()),
            MetricData::ExponentialHistogram(histogram) => {
                (Type::Histogram, Suffix::Unit, histogram.temporality())
            }
        };
        (temporality != Temporality::Delta).then_some((kind, suffix))
    }
    each_number!(data, data => of(data))
}

/// One family of all that arrived at one name.
fn merge<'a>(group: &[Candidate<'a>], left_out: &mut LeftOut) -> Option<Family<'a>> {
    let first = group.first()?;
    let name = &first.names.text;
    let mut help = "";
    let mut unit = None;
    let mut kept: Vec<&Candidate<'a>> = Vec::with_capacity(group.len());
    for one in group {
        if one.kind != first.kind {
            left_out
                .tell(name, "two instruments of that name have different types; the first scope's is kept");
            continue;
        }
        let description = one.metric.description();
        if help.is_empty() {
            help = description;
        } else if !description.is_empty() && description != help {
            left_out.tell(name, "two descriptions; the first is kept, and every series");
        }
        unit = unit.or_else(|| one.names.unit.clone());
        kept.push(one);
    }
    let scopes = Scopes::of(&kept);
    let parts = kept.iter().map(|one| Part { metric: one.metric, scope: scopes.labels(one.scope) }).collect();
    Some(Family {
        text_name: name.clone().into(),
        openmetrics_name: first.names.openmetrics.clone().into(),
        kind: first.kind,
        help,
        unit,
        row: None,
        figures: None,
        parts,
    })
}

/// How much of a scope has to be shown, so that one name in two scopes is not two equal series.
#[derive(Clone, Copy)]
enum Scopes {
    One,
    /// Name, and version where there is one.
    Named,
    /// Schema and attributes too: there are scopes that differ in nothing else.
    Whole,
}

impl Scopes {
    fn of(kept: &[&Candidate<'_>]) -> Self {
        let mut named: HashMap<(&str, Option<&str>), &InstrumentationScope> = HashMap::new();
        let mut whole = false;
        for one in kept {
            let known = *named.entry((one.scope.name(), one.scope.version())).or_insert(one.scope);
            whole |= known != one.scope;
        }
        match (whole, named.len()) {
            (true, _) => Self::Whole,
            (false, 0 | 1) => Self::One,
            (false, _) => Self::Named,
        }
    }

    fn labels(self, scope: &InstrumentationScope) -> Vec<KeyValue> {
        let mut labels = Vec::new();
        if matches!(self, Self::One) {
            return labels;
        }
        labels.push(KeyValue::new("otel_scope_name", scope.name().to_owned()));
        if let Some(version) = scope.version() {
            labels.push(KeyValue::new("otel_scope_version", version.to_owned()));
        }
        if matches!(self, Self::Whole) {
            if let Some(url) = scope.schema_url() {
                labels.push(KeyValue::new("otel_scope_schema_url", url.to_owned()));
            }
            let attributes = scope.attributes();
            labels.extend(
                attributes.map(|pair| KeyValue::new(format!("otel_scope_{}", pair.key), pair.value.clone())),
            );
        }
        labels
    }
}
