//! The private provider: every instrument of the catalogue, its series and what is remembered of them.
//!
//! Only this crate's callbacks run in it, so no service can hang or poison its collection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::{BoundCounter, BoundGauge, Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::reader::MetricReader as _;
use opentelemetry_sdk::metrics::{self as sdk, Aggregation, SdkMeterProvider, Stream};

use super::bound::{Amount, Count, Distribution, Level};
use super::caps::{MAX_FREE_VALUES, MAX_VALUE_BYTES, OTHER};
use super::catalog::{self, CATALOG, Group, Instrument, Kind, Values};
use super::collected::Catalogue;
use super::reader::SharedReader;
use super::series::{GroupState, InstrumentState, Recorded, Series};
use crate::lock::lock;

const OVER_CAP: &Instrument = catalog::named("trading_telemetry_over_cap_total");
const REFUSED: &Instrument = catalog::named("trading_telemetry_refused_values_total");

/// Every series of an instrument by its attributes, sorted by key as the SDK keeps them.
pub(crate) type SeriesByAttributes = HashMap<Vec<KeyValue>, Arc<Series>>;

/// A series with its attributes, sorted by key.
type Attributed = (Arc<[KeyValue]>, Arc<Series>);

/// The catalogue's provider.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The pipeline lives as long as its provider.
    _provider: SdkMeterProvider,
    meter: Meter,
    reader: SharedReader,
    groups: HashMap<Group, Arc<GroupState>>,
    instruments: Mutex<HashMap<&'static str, Arc<InstrumentState>>>,
    series: Mutex<HashMap<&'static str, SeriesByAttributes>>,
    /// The gauges whose values the SDK is told at each collection.
    levels: Mutex<Vec<(BoundGauge<f64>, Arc<Series>)>>,
    /// The histograms with their attributes, each once.
    distributions: Mutex<Vec<Attributed>>,
    /// Whether the SDK's histograms are recorded into as well, since OTLP exports what the SDK holds.
    exported: bool,
    foreign_refusals: Mutex<HashMap<String, BoundCounter<u64>>>,
}

impl Registry {
    pub(crate) fn new(
        resource: Resource,
        published: &[Group],
        max_strategies: usize,
    ) -> Result<Self, OTelSdkError> {
        let reader = SharedReader::new()?;
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
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
            groups,
            instruments: Mutex::default(),
            series: Mutex::default(),
            levels: Mutex::default(),
            distributions: Mutex::default(),
            exported: false,
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

    /// Collects every instrument into memory that the caller keeps.
    pub(crate) fn collect(&self, into: &mut Catalogue) -> OTelSdkResult {
        for (bound, series) in &*lock(&self.levels) {
            bound.record(series.level());
        }
        into.histograms.clear();
        for (attributes, series) in &*lock(&self.distributions) {
            if let Some(buckets) = series.buckets() {
                into.histograms.read(series.row(), Arc::clone(attributes), buckets);
            }
        }
        self.reader.collect(&mut into.metrics)
    }

    pub(crate) fn is_published(&self, group: Group) -> bool {
        self.groups.get(&group).is_some_and(|state| state.is_published())
    }

    /// Reads the series of one instrument.
    pub(crate) fn with_series<T>(
        &self,
        name: &str,
        read: impl FnOnce(Option<&SeriesByAttributes>) -> T,
    ) -> T {
        read(lock(&self.series).get(name))
    }

    /// When the series of these attributes, sorted by key, was recorded; `None` where nothing is remembered of it.
    pub(crate) fn recorded(&self, name: &str, attributes: &[KeyValue], now: Duration) -> Option<Recorded> {
        self.with_series(name, |series| series?.get(attributes).map(|series| series.recorded(now)))
    }

    /// A counter of events with these label values, in the order of the row. It is on the scrape at 0 from now on.
    pub(crate) fn count(&self, row: &'static Instrument, values: &[&str]) -> Count {
        let attributes = attributes(row, values);
        let bound = self.counter(row).bind(&attributes);
        bound.add(0);
        Count { bound, series: self.series(row, attributes) }
    }

    /// A counter of an amount with these label values. It is on the scrape at 0 from now on.
    pub(crate) fn amount(&self, row: &'static Instrument, values: &[&str]) -> Amount {
        let attributes = attributes(row, values);
        let counter: Counter<f64> =
            self.meter.f64_counter(row.otel_name()).with_description(row.help).build();
        let bound = counter.bind(&attributes);
        bound.add(0.0);
        Amount { bound, series: self.series(row, attributes) }
    }

    /// A gauge with these label values. It is on the scrape at 0 from now on unless it is a point in time.
    pub(crate) fn level(&self, row: &'static Instrument, values: &[&str]) -> Level {
        let attributes = attributes(row, values);
        let gauge: Gauge<f64> = self.meter.f64_gauge(row.otel_name()).with_description(row.help).build();
        let bound = gauge.bind(&attributes);
        bound.record(0.0);
        let series = self.series(row, attributes);
        lock(&self.levels).push((bound, Arc::clone(&series)));
        Level { series }
    }

    /// A histogram with these label values. It is on the scrape at 0 from now on.
    pub(crate) fn distribution(&self, row: &'static Instrument, values: &[&str]) -> Distribution {
        let attributes = attributes(row, values);
        let exported = self.exported.then(|| {
            let histogram: Histogram<f64> =
                self.meter.f64_histogram(row.otel_name()).with_description(row.help).build();
            histogram.bind(&attributes)
        });
        let series = self.series(row, attributes.clone());
        let mut all = lock(&self.distributions);
        if !all.iter().any(|(_, known)| Arc::ptr_eq(known, &series)) {
            all.push((attributes.into(), Arc::clone(&series)));
        }
        drop(all);
        Distribution { series, exported }
    }

    /// The remembered series of these attributes, made where there is none.
    pub(crate) fn series(&self, row: &'static Instrument, attributes: Vec<KeyValue>) -> Arc<Series> {
        let instrument = self.instrument(row);
        let mut all = lock(&self.series);
        let series = all.entry(row.name).or_default().entry(attributes);
        Arc::clone(series.or_insert_with(|| Arc::new(Series::new(instrument))))
    }

    fn instrument(&self, row: &'static Instrument) -> Arc<InstrumentState> {
        if let Some(known) = lock(&self.instruments).get(row.name) {
            return Arc::clone(known);
        }
        let group = self
            .groups
            .get(&row.group)
            .map_or_else(|| Arc::new(GroupState::new(row.group, true)), Arc::clone);
        let state = Arc::new(InstrumentState::new(row, group, self.refused(row)));
        Arc::clone(lock(&self.instruments).entry(row.name).or_insert(state))
    }

    /// Where refused values of the instrument are counted: only a float can be refused.
    fn refused(&self, row: &'static Instrument) -> Option<BoundCounter<u64>> {
        let takes_floats = match row.kind {
            Kind::Gauge | Kind::Histogram(_) => row.group.is_optional(),
            Kind::Counter => row.name.contains("_dollars"),
            Kind::Info => false,
        };
        takes_floats.then(|| {
            let bound = self.counter(REFUSED).bind(&attributes(REFUSED, &[row.name]));
            bound.add(0);
            bound
        })
    }

    /// Where it is counted that a value of `what` found no room under its cap.
    pub(crate) fn over_cap(&self, what: &str) -> BoundCounter<u64> {
        self.count(OVER_CAP, &[what]).bound
    }

    /// Where refused values of an instrument of the service's own are counted: under its name, or under `other` where
    /// there are too many.
    pub(crate) fn refusals_of(&self, name: &str) -> BoundCounter<u64> {
        let mut known = lock(&self.foreign_refusals);
        let fits = known.len() < MAX_FREE_VALUES / 2 && name.len() <= MAX_VALUE_BYTES;
        let name = if fits || known.contains_key(name) { name } else { OTHER };
        let bound = known.entry(name.to_owned()).or_insert_with(|| self.count(REFUSED, &[name]).bound);
        bound.clone()
    }

    fn counter(&self, row: &'static Instrument) -> Counter<u64> {
        self.meter.u64_counter(row.otel_name()).with_description(row.help).build()
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

    const PNL: &Instrument = catalog::named("trading_trade_pnl_dollars");

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
        let mut catalogue = Catalogue::default();
        registry.collect(&mut catalogue).unwrap();
        let metrics = catalogue.metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
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
        for own in catalogue.histograms.of(PNL) {
            let same = exported.iter().find(|point| point.attributes().eq(own.attributes)).unwrap();
            assert_eq!(same.bucket_counts().collect::<Vec<_>>(), own.counts);
            assert_eq!(same.bounds().collect::<Vec<_>>(), own.bounds);
            assert_eq!(same.sum(), own.sum);
        }
        let counts: Vec<u64> =
            catalogue.histograms.of(PNL).map(|series| series.counts.iter().sum()).collect();
        assert_eq!(counts, [4, 3]);
    }

    #[test]
    fn without_an_export_the_sdk_has_no_histogram_to_pay_for() {
        let (exported, catalogue) = collected(false);
        assert!(exported.is_empty());
        assert_eq!(catalogue.histograms.of(PNL).count(), 2);
    }
}
