//! From one collection to the evaluator's samples.

use std::collections::HashSet;
use std::time::Duration;

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};

use super::Components;
use crate::alerts::evaluation::{LabelSet, Measured, Origin, Pass, Recorded, Sample};
use crate::exposition;
use crate::metrics::catalog::{self, Instrument, Kind};
use crate::metrics::{self, Catalogue, HistogramPoint, Latched, Metrics};

const COMPONENT_UP: &Instrument = catalog::named("trading_component_up");

/// The values that wake the engine, taken out of their latches.
#[derive(Default)]
pub(super) struct Taken {
    risk: Vec<(&'static Instrument, Option<String>, Latched)>,
    components: Vec<(&'static Instrument, String, Latched, bool)>,
}

impl Taken {
    pub(super) fn take(metrics: &Metrics) -> Self {
        let mut taken = Self::default();
        metrics.risk().take_latched(|row, breaker, latched| {
            taken.risk.push((row, breaker.map(str::to_owned), latched));
        });
        metrics.components().take_latched(|row, component, latched, reported| {
            taken.components.push((row, component.to_owned(), latched, reported));
        });
        taken
    }
}

/// What the samples of a pass are made of.
pub(super) struct Samples<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) components: &'a Components,
    pub(super) monotonic: Duration,
}

impl Samples<'_> {
    /// The values that wake the engine. Returns the metrics that have been recorded at all.
    pub(super) fn latched(&self, pass: &mut Pass<'_>, taken: Taken) -> HashSet<&'static str> {
        let risk = taken.risk.iter().map(|(row, ..)| row.name);
        let seen: HashSet<_> = risk.chain(taken.components.iter().map(|(row, ..)| row.name)).collect();
        // A latch holds what was recorded, which a mark of before the latch was read may not know.
        for name in &seen {
            self.metrics.registry().mark(name, self.monotonic);
        }
        for (row, breaker, latched) in taken.risk {
            match &breaker {
                Some(breaker) => self.gauge(pass, row, &[("breaker", breaker)], latched),
                None => self.gauge(pass, row, &[], latched),
            }
        }
        for (row, component, latched, reported) in taken.components {
            let Some(watch) = pass.watch(row.name) else { continue };
            let component = component.as_str();
            let labels = [("component", component)];
            let known = self.components.know(component);
            // Nobody checks one that only reports: its state stands until the next report.
            let recorded = match known.interval {
                Some(_) => self.recorded(row.name, &labels),
                None => Recorded::Unknown,
            };
            let origin = Origin { last_error: known.last_error, ..Origin::default() };
            pass.observe(
                watch,
                &Sample {
                    reported,
                    excused: !known.pages,
                    interval: known.interval,
                    origin: Some(&origin),
                    ..Sample::new(&labels, measured(latched), recorded)
                },
            );
        }
        seen
    }

    fn gauge(&self, pass: &mut Pass<'_>, row: &Instrument, labels: &[(&str, &str)], latched: Latched) {
        if let Some(watch) = pass.watch(row.name) {
            let labels = Pairs(labels);
            pass.observe(watch, &Sample::new(&labels, measured(latched), self.recorded(row.name, labels.0)));
        }
    }

    fn recorded(&self, metric: &str, labels: &[(&str, &str)]) -> Recorded {
        let attributes: Vec<_> = labels
            .iter()
            .map(|(name, value)| KeyValue::new((*name).to_owned(), (*value).to_owned()))
            .collect();
        recorded(self.metrics.registry().recorded(metric, &attributes))
    }

    /// The catalogue's collected series, but for those in `latched`.
    pub(super) fn catalogue(
        &self,
        pass: &mut Pass<'_>,
        collected: &Catalogue,
        latched: &HashSet<&'static str>,
    ) {
        for (row, figures) in collected.rows() {
            if row.name == COMPONENT_UP.name || latched.contains(row.name) {
                continue;
            }
            let Some(watch) = pass.watch(row.name) else { continue };
            let mut observe = |attributes: &[KeyValue], measured| {
                let recorded = recorded(self.metrics.registry().recorded(row.name, attributes));
                pass.observe(watch, &Sample::new(&Attributes(|| attributes.iter()), measured, recorded));
            };
            for (attributes, value) in figures.singles() {
                let measured = match row.kind {
                    Kind::Counter => Measured::Counter(value),
                    _ => Measured::Gauge { last: value, worst: None },
                };
                observe(attributes, measured);
            }
            for HistogramPoint { attributes, bounds, counts, sum } in figures.histograms() {
                observe(attributes, Measured::Histogram { bounds, counts, sum });
            }
        }
    }
}

/// The service's own series; `None` where they could not be collected.
pub(super) fn foreign(pass: &mut Pass<'_>, collected: Option<&ResourceMetrics>, watched: &[String]) {
    let Some(collected) = collected else {
        for name in watched {
            if let Some(watch) = pass.watch(name) {
                pass.unreadable(watch);
            }
        }
        return;
    };
    for metric in collected.scope_metrics().flat_map(ScopeMetrics::metrics) {
        let Some(watch) = pass.watch(&exposition::family_name(metric)) else { continue };
        each_point(metric.data(), &mut |attributes, measured| {
            pass.observe(watch, &Sample::new(attributes, measured, Recorded::Unknown));
        });
    }
}

fn recorded(recorded: Option<metrics::Recorded>) -> Recorded {
    match recorded {
        Some(metrics::Recorded::Never) => Recorded::Never,
        Some(metrics::Recorded::At(at)) => Recorded::At(at),
        Some(metrics::Recorded::Refused) => Recorded::Refused,
        None => Recorded::Unknown,
    }
}

fn measured(latched: Latched) -> Measured<'static> {
    Measured::Gauge { last: latched.last, worst: Some(latched.worst) }
}

struct Pairs<'a>(&'a [(&'a str, &'a str)]);

impl LabelSet for Pairs<'_> {
    fn visit(&self, visit: &mut dyn FnMut(&str, &str)) {
        self.0.visit(visit);
    }
}

/// A point's attributes as labels.
struct Attributes<F>(F);

impl<'a, I: Iterator<Item = &'a KeyValue>, F: Fn() -> I> LabelSet for Attributes<F> {
    fn visit(&self, visit: &mut dyn FnMut(&str, &str)) {
        for attribute in (self.0)() {
            match &attribute.value {
                Value::String(text) => visit(attribute.key.as_str(), text.as_str()),
                other => visit(attribute.key.as_str(), &other.as_str()),
            }
        }
    }
}

type EachPoint<'a> = dyn FnMut(&dyn LabelSet, Measured<'_>) + 'a;

fn each_point(data: &AggregatedMetrics, each: &mut EachPoint<'_>) {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has floats alone")]
    match data {
        AggregatedMetrics::F64(data) => points(data, |value| value, each),
        AggregatedMetrics::U64(data) => points(data, |value| value as f64, each),
        AggregatedMetrics::I64(data) => points(data, |value| value as f64, each),
    }
}

fn points<T: Copy>(data: &MetricData<T>, float: impl Fn(T) -> f64, each: &mut EachPoint<'_>) {
    match data {
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                let measured = Measured::Gauge { last: float(point.value()), worst: None };
                each(&Attributes(|| point.attributes()), measured);
            }
        }
        MetricData::Sum(sum) => {
            for point in sum.data_points() {
                let value = float(point.value());
                let measured = if sum.is_monotonic() {
                    Measured::Counter(value)
                } else {
                    Measured::Gauge { last: value, worst: None }
                };
                each(&Attributes(|| point.attributes()), measured);
            }
        }
        MetricData::Histogram(histogram) => {
            let (mut bounds, mut counts) = (Vec::new(), Vec::new());
            for point in histogram.data_points() {
                bounds.clear();
                bounds.extend(point.bounds());
                counts.clear();
                counts.extend(point.bucket_counts());
                let measured =
                    Measured::Histogram { bounds: &bounds, counts: &counts, sum: float(point.sum()) };
                each(&Attributes(|| point.attributes()), measured);
            }
        }
        // Rules name classic buckets; a scrape converts these, a rule cannot watch them.
        MetricData::ExponentialHistogram(_) => {}
    }
}
