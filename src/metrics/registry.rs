//! Every instrument of the catalogue, its series and what is remembered of them.
//!
//! The scrape and the alert rules read the series themselves: collecting through OpenTelemetry's SDK copies the
//! attributes of each, which costs more than all the rest of a scrape. The private provider has every instrument that the
//! service publishes, and is told at its own collection, for OTLP. Only this crate's callbacks run in either, so no
//! service can hang or poison them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use opentelemetry::metrics::{BoundHistogram, Meter, MeterProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader as _;
use opentelemetry_sdk::metrics::{self as sdk, Aggregation, SdkMeterProvider, Stream};

use super::bound::{Amount, Count, Distribution, Level};
use super::caps::{MAX_FREE_VALUES, MAX_VALUE_BYTES, OTHER};
use super::catalog::{self, CATALOG, Group, Instrument, Kind, Values};
use super::collected::{Catalogue, Exemplars, SeriesExemplars};
use super::observed::Observed;
use super::point::{Point, Told};
use super::reader::SharedReader;
use super::series::{GroupState, InstrumentState, Recorded, Series};
use crate::lock::lock;

const OVER_CAP: &Instrument = catalog::named("trading_telemetry_over_cap_total");
const REFUSED: &Instrument = catalog::named("trading_telemetry_refused_values_total");

/// Every series of an instrument by its attributes, sorted by key as the SDK keeps them.
type SeriesByAttributes = HashMap<Vec<KeyValue>, Arc<Series>>;

/// The catalogue's instruments.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The pipeline lives as long as its provider.
    _provider: SdkMeterProvider,
    meter: Meter,
    reader: SharedReader,
    resource: Resource,
    /// Whether OTLP exports what the SDK holds.
    exported: bool,
    groups: HashMap<Group, Arc<GroupState>>,
    instruments: Mutex<HashMap<&'static str, Arc<InstrumentState>>>,
    series: Mutex<HashMap<&'static str, SeriesByAttributes>>,
    /// By the number of their row: what is recorded into, in the order in which it was made. None ever goes.
    points: Mutex<Vec<Vec<Point>>>,
    observed: Mutex<Vec<Observed>>,
    foreign_refusals: Mutex<HashMap<String, Count>>,
}

impl Registry {
    pub(crate) fn new(
        resource: Resource,
        published: &[Group],
        max_strategies: usize,
    ) -> Result<Self, OTelSdkError> {
        let reader = SharedReader::new()?;
        let provider = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(reader.clone())
            .with_view(move |instrument: &sdk::Instrument| view(instrument, max_strategies))
            .build();
        let groups = Group::ALL
            .iter()
            .map(|group| {
                let listed = !group.is_optional() || published.contains(group);
                (*group, Arc::new(GroupState::new(*group, listed)))
            })
            .collect();
        let meter = provider.meter("trading_telemetry");
        Ok(Self {
            _provider: provider,
            meter,
            reader,
            resource,
            exported: false,
            groups,
            instruments: Mutex::default(),
            series: Mutex::default(),
            points: Mutex::new(CATALOG.iter().map(|_| Vec::new()).collect()),
            observed: Mutex::default(),
            foreign_refusals: Mutex::default(),
        })
    }

    /// Says whether OTLP exports what the SDK holds: histograms are recorded into it as well from then on.
    pub(crate) fn exporting(self, exported: bool) -> Self {
        Self { exported, ..self }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) const fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Reads every series into memory that the caller keeps.
    pub(crate) fn collect(&self, into: &mut Catalogue) {
        into.begin();
        for (ordinal, points) in lock(&self.points).iter().enumerate() {
            let Some(figures) = into.row(ordinal) else { continue };
            for point in points {
                match point.series.buckets() {
                    Some(buckets) => figures.take_histogram(&point.attributes, buckets),
                    None => figures.take(&point.attributes, point.value()),
                }
            }
        }
        // One collection after the other: what is observed may belong together.
        for observed in &*lock(&self.observed) {
            observed.collect(into);
        }
        into.end();
    }

    /// Tells the SDK everything and collects it, for OTLP.
    pub(crate) fn export(&self, into: &mut ResourceMetrics) -> OTelSdkResult {
        for (row, points) in CATALOG.iter().zip(&mut *lock(&self.points)) {
            if self.is_published(row.group) {
                for point in points {
                    point.tell(row, &self.meter);
                }
            }
        }
        // The SDK asks the same callbacks.
        let _one_after_the_other = lock(&self.observed);
        self.reader.collect(into)
    }

    pub(crate) fn is_published(&self, group: Group) -> bool {
        self.groups.get(&group).is_some_and(|state| state.is_published())
    }

    /// Marks the series of an instrument, before they are read: see [`Series::mark`].
    pub(crate) fn mark(&self, name: &str, now: Duration) {
        if let Some(series) = lock(&self.series).get(name) {
            for series in series.values() {
                series.mark(now);
            }
        }
    }

    /// When the series of these attributes, sorted by key, was recorded as of the last mark; `None` where nothing is
    /// remembered of it.
    pub(crate) fn recorded(&self, name: &str, attributes: &[KeyValue]) -> Option<Recorded> {
        lock(&self.series).get(name)?.get(attributes).map(|series| series.recorded())
    }

    /// A counter of events with these label values, in the order of the row. It is on the scrape at 0 from now on.
    pub(crate) fn count(&self, row: &'static Instrument, values: &[&str]) -> Count {
        Count { series: self.point(row, attributes(row, values), Told::Count(None, 0)) }
    }

    /// A counter of an amount with these label values. It is on the scrape at 0 from now on.
    pub(crate) fn amount(&self, row: &'static Instrument, values: &[&str]) -> Amount {
        Amount { series: self.point(row, attributes(row, values), Told::Amount(None, 0.0)) }
    }

    /// A gauge with these label values. It is on the scrape at 0 from now on.
    pub(crate) fn level(&self, row: &'static Instrument, values: &[&str]) -> Level {
        Level { series: self.point(row, attributes(row, values), Told::Level(None)) }
    }

    /// A histogram with these label values. It is on the scrape at 0 from now on.
    pub(crate) fn distribution(&self, row: &'static Instrument, values: &[&str]) -> Distribution {
        let attributes = attributes(row, values);
        let exported = self.exported.then(|| {
            let (meter, attributes) = (self.meter.clone(), attributes.clone());
            let bind: Box<dyn FnOnce() -> BoundHistogram<f64> + Send> = Box::new(move || {
                meter.f64_histogram(row.otel_name()).with_description(row.help).build().bind(&attributes)
            });
            Arc::new(LazyLock::new(bind))
        });
        if let Some(exported) = exported.as_ref().filter(|_| self.is_published(row.group)) {
            LazyLock::force(exported);
        }
        let series = self.point(row, attributes, Told::Distribution(exported.clone()));
        Distribution { series, exported }
    }

    /// The series of these attributes, which is put on the scrape where it is new.
    fn point(&self, row: &'static Instrument, attributes: Vec<KeyValue>, told: Told) -> Arc<Series> {
        let (series, is_new) = self.find(row, &attributes);
        if is_new {
            let point = Point { attributes: attributes.into(), series: Arc::clone(&series), told };
            if let Some(points) = lock(&self.points).get_mut(row.ordinal()) {
                points.push(point);
            }
        }
        series
    }

    /// What is remembered of a series that is read when it is collected.
    pub(crate) fn series(&self, row: &'static Instrument, attributes: &[KeyValue]) -> Arc<Series> {
        self.find(row, attributes).0
    }

    /// The series of these attributes, and whether it was made just now.
    fn find(&self, row: &'static Instrument, attributes: &[KeyValue]) -> (Arc<Series>, bool) {
        let instrument = self.instrument(row);
        let mut all = lock(&self.series);
        let known = all.entry(row.name).or_default();
        if let Some(series) = known.get(attributes) {
            return (Arc::clone(series), false);
        }
        let series = Arc::new(Series::new(instrument));
        known.insert(attributes.to_vec(), Arc::clone(&series));
        (series, true)
    }

    pub(super) fn add_observed(&self, observed: Observed) {
        lock(&self.observed).push(observed);
    }

    pub(super) fn group(&self, group: Group) -> Arc<GroupState> {
        self.groups.get(&group).map_or_else(|| Arc::new(GroupState::new(group, true)), Arc::clone)
    }

    fn instrument(&self, row: &'static Instrument) -> Arc<InstrumentState> {
        if let Some(known) = lock(&self.instruments).get(row.name) {
            return Arc::clone(known);
        }
        let state = Arc::new(InstrumentState::new(row, self.group(row.group), self.refused(row)));
        Arc::clone(lock(&self.instruments).entry(row.name).or_insert(state))
    }

    /// Where refused values of the instrument are counted: only a float can be refused.
    fn refused(&self, row: &'static Instrument) -> Option<Count> {
        let takes_floats = match row.kind {
            Kind::Gauge | Kind::Histogram(_) => row.group.is_optional(),
            Kind::Counter => row.name.contains("_dollars"),
            Kind::Info => false,
        };
        takes_floats.then(|| self.count(REFUSED, &[row.name]))
    }

    /// Where it is counted that a value of `what` found no room under its cap.
    pub(crate) fn over_cap(&self, what: &str) -> Count {
        self.count(OVER_CAP, &[what])
    }

    /// Where refused values of an instrument of the service's own are counted: under its name, or under `other` where
    /// there are too many.
    pub(crate) fn refusals_of(&self, name: &str) -> Count {
        let mut known = lock(&self.foreign_refusals);
        let fits = known.len() < MAX_FREE_VALUES / 2 && name.len() <= MAX_VALUE_BYTES;
        let name = if fits || known.contains_key(name) { name } else { OTHER };
        known.entry(name.to_owned()).or_insert_with(|| self.count(REFUSED, &[name])).clone()
    }
}

impl Exemplars for Registry {
    fn series(&self, row: usize, series: usize) -> Option<Arc<dyn SeriesExemplars>> {
        let points = lock(&self.points);
        let point = points.get(row)?.get(series)?;
        Some(Arc::clone(&point.series) as Arc<dyn SeriesExemplars>)
    }
}

/// The explicit buckets and the cardinality limit of a catalogue instrument. The limit is what the label sets and the
/// caps can make, so that the SDK's own overflow series never appears.
fn view(instrument: &sdk::Instrument, max_strategies: usize) -> Option<Stream> {
    let row = CATALOG.iter().find(|row| row.otel_name() == instrument.name())?;
    let cap = if row.labels.iter().any(|label| label.name == "strategy") {
        max_strategies
    } else {
        MAX_FREE_VALUES
    };
    let stream = Stream::builder().with_cardinality_limit(row.max_series(cap) + 1);
    let stream = match row.kind {
        Kind::Histogram(bounds) => stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries: bounds.to_vec(),
            record_min_max: false,
        }),
        _ => stream,
    };
    stream.build().ok()
}

/// Label values in the order of the row as attributes sorted by key: the SDK then keeps one entry a series, not two.
pub(crate) fn attributes(row: &Instrument, values: &[&str]) -> Vec<KeyValue> {
    let mut attributes: Vec<_> = row
        .labels
        .iter()
        .zip(values)
        .map(|(label, value)| KeyValue::new(label.name, shared(label.values, value)))
        .collect();
    attributes.sort_unstable_by(|left, right| left.key.cmp(&right.key));
    attributes
}

/// Each collection copies the attributes of every series: a text that is fixed or shared is copied without allocating.
fn shared(values: Values, value: &str) -> Value {
    let fixed = match values {
        Values::Closed(values) => values.iter().find(|fixed| **fixed == value).copied(),
        Values::Free => None,
    };
    fixed.map_or_else(|| Arc::<str>::from(value).into(), Value::from)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the same values were added in the same order")]
mod tests {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, HistogramDataPoint, MetricData, ScopeMetrics};

    use super::*;
    use crate::metrics::HistogramPoint;

    const PNL: &Instrument = catalog::named("trading_trade_pnl_dollars");

    fn pnl(catalogue: &Catalogue) -> impl Iterator<Item = HistogramPoint<'_>> {
        catalogue.rows().find(|(row, _)| row.name == PNL.name).unwrap().1.histograms()
    }

    /// What the SDK and this crate have of a histogram after the same recordings.
    fn collected(exported: bool) -> (Vec<HistogramDataPoint<f64>>, Catalogue) {
        let registry = Registry::new(Resource::builder_empty().build(), &[Group::Orders], 4).unwrap();
        let registry = registry.exporting(exported);
        for (strategy, values) in [("A", [-75.0, 0.0, 150.5]), ("B", [1e6, 20.0, f64::NAN])] {
            let pnl = registry.distribution(PNL, &[strategy]);
            for value in values {
                pnl.record(value);
            }
            // A second handle is the same series.
            registry.distribution(PNL, &[strategy]).record(1.0);
        }
        let (mut catalogue, mut exported) = (Catalogue::default(), ResourceMetrics::default());
        registry.collect(&mut catalogue);
        registry.export(&mut exported).unwrap();
        let metrics = exported.scope_metrics().flat_map(ScopeMetrics::metrics);
        let histograms = metrics.filter_map(|metric| match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                Some(histogram.data_points().cloned())
            }
            _ => None,
        });
        (histograms.flatten().collect(), catalogue)
    }

    #[test]
    fn otlp_exports_what_the_scrape_shows_of_a_histogram() {
        let (exported, catalogue) = collected(true);
        assert_eq!(exported.len(), 2);
        for own in pnl(&catalogue) {
            let same = exported.iter().find(|point| point.attributes().eq(own.attributes.iter())).unwrap();
            assert_eq!(same.bucket_counts().collect::<Vec<_>>(), own.counts);
            assert_eq!(same.bounds().collect::<Vec<_>>(), own.bounds);
            assert_eq!(same.sum(), own.sum);
        }
        let counts: Vec<u64> = pnl(&catalogue).map(|series| series.counts.iter().sum()).collect();
        assert_eq!(counts, [4, 3]);
    }

    #[test]
    fn a_group_that_is_not_listed_is_exported_once_it_is_recorded() {
        const EQUITY: &Instrument = catalog::named("trading_portfolio_equity_dollars");
        const KILL_SWITCH: &Instrument = catalog::named("trading_kill_switch_active");
        const FILL: &Instrument = catalog::named("trading_fill_latency_ms");
        let registry = Registry::new(Resource::builder_empty().build(), &[Group::Orders], 4).unwrap();
        let registry = registry.exporting(true);
        registry.observe(EQUITY, |observer| observer(&[], 0.0));
        let (kill_switch, fill) = (registry.level(KILL_SWITCH, &[]), registry.distribution(FILL, &[]));
        let pnl = registry.distribution(PNL, &["A"]);
        pnl.record(1.0);
        let names = || {
            let mut exported = ResourceMetrics::default();
            registry.export(&mut exported).unwrap();
            let metrics = exported.scope_metrics().flat_map(ScopeMetrics::metrics);
            let mut names: Vec<_> = metrics.map(|metric| metric.name().to_owned()).collect();
            names.retain(|name| !name.contains("telemetry"));
            names.sort();
            names
        };
        assert_eq!(names(), [PNL.name]);
        kill_switch.record(1.0);
        assert_eq!(names(), [KILL_SWITCH.name, PNL.name]);
        fill.record(1250.0);
        assert_eq!(names(), [FILL.name, KILL_SWITCH.name, PNL.name]);
    }

    #[test]
    fn without_an_export_the_sdk_has_no_histogram_to_pay_for() {
        let (exported, catalogue) = collected(false);
        assert!(exported.is_empty());
        assert_eq!(pnl(&catalogue).count(), 2);
    }
}
