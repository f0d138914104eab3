//! The series of a scrape made again in each peer, so that all do the same work: same names, same labels, as many series
//! and the same values, read off what our own scrape says.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundGauge, BoundHistogram, Meter, MeterProvider};
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, Pipeline, SdkMeterProvider, Stream, Temporality,
};
use prometheus::{Encoder as _, TextEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

type Labels = Vec<(String, String)>;

/// The families of a scrape.
pub(crate) struct Model(Vec<FamilyModel>);

struct FamilyModel {
    name: String,
    help: String,
    kind: String,
    bounds: Vec<f64>,
    series: Vec<(Labels, Value)>,
}

enum Value {
    Single(f64),
    /// How many fell into each bucket, `+Inf` last.
    Histogram(Vec<u32>),
}

impl Model {
    pub(crate) fn of(scrape: &str) -> Self {
        let mut families: Vec<FamilyModel> = Vec::new();
        let mut cumulative: Vec<HashMap<Labels, usize>> = Vec::new();
        for line in scrape.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                let (name, help) = (name.to_owned(), help.to_owned());
                families.push(FamilyModel {
                    name,
                    help,
                    kind: String::new(),
                    bounds: vec![],
                    series: vec![],
                });
                cumulative.push(HashMap::new());
            } else if let Some(kind) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').nth(1)) {
                kind.clone_into(&mut families.last_mut().expect("HELP comes first").kind);
            } else if let (Some(family), Some(known)) = (families.last_mut(), cumulative.last_mut()) {
                family.sample(line, known);
            }
        }
        Self(families)
    }

    fn series(&self) -> usize {
        self.0.iter().map(|family| family.series.len()).sum()
    }
}

impl FamilyModel {
    fn sample(&mut self, line: &str, known: &mut HashMap<Labels, usize>) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().expect("a number");
        let (name, block) = series.split_once('{').unwrap_or((series, ""));
        let mut labels: Labels = block
            .trim_end_matches('}')
            .split_terminator("\",")
            .map(|pair| pair.split_once("=\"").expect("a label"))
            .map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned()))
            .collect();
        if self.kind != "histogram" {
            self.series.push((labels, Value::Single(value)));
            return;
        }
        if !name.ends_with("_bucket") {
            return;
        }
        let le = labels.iter().position(|(key, _)| key == "le").expect("a bound");
        let bound: f64 = labels.remove(le).1.parse().expect("a number");
        let at = *known.entry(labels.clone()).or_insert_with(|| {
            self.series.push((labels, Value::Histogram(Vec::new())));
            self.series.len() - 1
        });
        if at == 0 && bound.is_finite() {
            self.bounds.push(bound);
        }
        if let Value::Histogram(counts) = &mut self.series[at].1 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
            counts.push(value as u32 - counts.iter().sum::<u32>());
        }
    }

    fn otel_name(&self) -> &str {
        self.name.strip_suffix("_total").unwrap_or(&self.name)
    }

    fn keys(&self) -> Vec<&str> {
        let first = self.series.first().map_or(&[][..], |(labels, _)| labels);
        first.iter().map(|(key, _)| key.as_str()).collect()
    }

    /// Calls `observe` with a value for each recording of a histogram.
    fn observations(&self, counts: &[u32], mut observe: impl FnMut(f64)) {
        let over = self.bounds.last().map_or(0.0, |last| last + 1.0);
        for (count, value) in counts.iter().zip(self.bounds.iter().copied().chain([over])) {
            (0..*count).for_each(|_| observe(value));
        }
    }
}

/// The SDK's reader, shared with whoever collects.
#[derive(Clone, Debug)]
struct Shared(Arc<PrometheusExporter>);

impl MetricReader for Shared {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// The bare SDK: one provider, one reader, handles bound as ours are.
pub(crate) struct Otel {
    reader: Shared,
    registry: prometheus::Registry,
    provider: SdkMeterProvider,
    handles: Vec<Handle>,
    collected: ResourceMetrics,
    text: Vec<u8>,
}

#[expect(dead_code, reason = "they only have to live, as a service's do")]
enum Handle {
    Whole(BoundCounter<u64>),
    Amount(BoundCounter<f64>),
    Level(BoundGauge<f64>),
    Distribution(BoundHistogram<f64>),
}

impl Otel {
    pub(crate) fn new(model: &Model) -> Self {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        let reader = Shared(Arc::new(exporter.without_units().build().expect("an exporter")));
        // As many as there are: the SDK makes room for all, and walks through it at each collection.
        let sizes: HashMap<String, usize> =
            model.0.iter().map(|family| (family.otel_name().to_owned(), family.series.len() + 1)).collect();
        let view = move |instrument: &Instrument| {
            let limit = sizes.get(instrument.name())?;
            Stream::builder().with_cardinality_limit(*limit).build().ok()
        };
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).with_view(view).build();
        let (meter, mut handles) = (provider.meter("mirror"), Vec::new());
        let observed = observe_process(&meter);
        for family in model.0.iter().filter(|family| !observed.contains(&family.name.as_str())) {
            let (name, help) = (family.otel_name().to_owned(), family.help.clone());
            for (labels, value) in &family.series {
                let labels: Vec<KeyValue> = labels.iter().map(shared).collect();
                let (name, help) = (name.clone(), help.clone());
                handles.push(match (family.kind.as_str(), value) {
                    ("counter", Value::Single(value)) if value.fract() == 0.0 => {
                        let bound = meter.u64_counter(name).with_description(help).build().bind(&labels);
                        bound.add(whole(*value));
                        Handle::Whole(bound)
                    }
                    ("counter", Value::Single(value)) => {
                        let bound = meter.f64_counter(name).with_description(help).build().bind(&labels);
                        bound.add(*value);
                        Handle::Amount(bound)
                    }
                    (_, Value::Single(value)) => {
                        let bound = meter.f64_gauge(name).with_description(help).build().bind(&labels);
                        bound.record(*value);
                        Handle::Level(bound)
                    }
                    (_, Value::Histogram(counts)) => {
                        let histogram = meter.f64_histogram(name).with_description(help);
                        let bound = histogram.with_boundaries(family.bounds.clone()).build().bind(&labels);
                        family.observations(counts, |value| bound.record(value));
                        Handle::Distribution(bound)
                    }
                });
            }
        }
        assert_eq!(handles.len() + observed.len(), model.series());
        Self { reader, registry, provider, handles, collected: ResourceMetrics::default(), text: Vec::new() }
    }

    /// Collecting, and nothing else: into memory that is kept, which is the least that it can cost.
    pub(crate) fn collect(&mut self) {
        self.reader.collect(&mut self.collected).expect("it can be collected");
    }

    /// opentelemetry-prometheus and its encoder.
    pub(crate) fn scrape(&mut self) -> &[u8] {
        self.text.clear();
        TextEncoder::new().encode(&self.registry.gather(), &mut self.text).expect("it can be encoded");
        &self.text
    }
}

impl Drop for Otel {
    fn drop(&mut self) {
        let _ = self.provider.shutdown();
    }
}

/// The figures of the process, which a collection reads from `/proc`: they are work of the collection, not of the scrape.
/// As thrifty as ours: each file once.
fn observe_process(meter: &Meter) -> [&'static str; 5] {
    let names = [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
    ];
    let process = Arc::new(procfs::process::Process::myself().expect("Linux"));
    let read = Arc::new(Mutex::new(None));
    for (index, name) in names.into_iter().enumerate() {
        let (process, read) = (Arc::clone(&process), Arc::clone(&read));
        let figure = move || {
            let mut read = read.lock().expect("no callback panics");
            if index == 0 {
                *read = process.stat().ok();
            }
            let stat: &procfs::process::Stat = read.as_ref().expect("it was read first");
            match index {
                0 => stat.utime,
                1 => process.fd_count().expect("a folder") as u64,
                2 => u64::from(process.limits().is_ok()),
                3 => stat.vsize,
                _ => stat.rss,
            }
        };
        meter
            .u64_observable_gauge(name)
            .with_callback(move |observer| observer.observe(figure(), &[]))
            .build();
    }
    names
}

/// A collection copies every label: one with a fixed key and a shared value is copied without allocating.
fn shared((key, value): &(String, String)) -> KeyValue {
    KeyValue::new(&*key.clone().leak(), Arc::<str>::from(value.as_str()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// tikv's prometheus.
pub(crate) struct Prometheus {
    registry: prometheus::Registry,
    text: Vec<u8>,
}

impl Prometheus {
    pub(crate) fn new(model: &Model) -> Self {
        let registry = prometheus::Registry::new();
        for family in &model.0 {
            let options = prometheus::Opts::new(&family.name, &family.help);
            let keys = family.keys();
            let register = |collector| registry.register(collector).expect("a new name");
            match family.kind.as_str() {
                "counter" => {
                    let all = prometheus::CounterVec::new(options, &keys).expect("good names");
                    family.each(|labels, value| all.with_label_values(labels).inc_by(value));
                    register(Box::new(all));
                }
                "histogram" => {
                    let options = prometheus::HistogramOpts::from(options).buckets(family.bounds.clone());
                    let all = prometheus::HistogramVec::new(options, &keys).expect("good names");
                    family.each_histogram(|labels, counts| {
                        let one = all.with_label_values(labels);
                        family.observations(counts, |value| one.observe(value));
                    });
                    register(Box::new(all));
                }
                _ => {
                    let all = prometheus::GaugeVec::new(options, &keys).expect("good names");
                    family.each(|labels, value| all.with_label_values(labels).set(value));
                    register(Box::new(all));
                }
            }
        }
        Self { registry, text: Vec::new() }
    }

    pub(crate) fn scrape(&mut self) -> &[u8] {
        self.text.clear();
        TextEncoder::new().encode(&self.registry.gather(), &mut self.text).expect("it can be encoded");
        &self.text
    }
}

impl FamilyModel {
    fn each(&self, mut each: impl FnMut(&[&str], f64)) {
        for (labels, value) in &self.series {
            let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
            if let Value::Single(value) = value {
                each(&values, *value);
            }
        }
    }

    fn each_histogram(&self, mut each: impl FnMut(&[&str], &[u32])) {
        for (labels, value) in &self.series {
            let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
            if let Value::Histogram(counts) = value {
                each(&values, counts);
            }
        }
    }
}

/// prometheus-client, which writes OpenMetrics.
pub(crate) struct Client {
    registry: prometheus_client::registry::Registry,
    text: String,
}

#[derive(Clone, Debug)]
struct Buckets(Vec<f64>);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl Client {
    pub(crate) fn new(model: &Model) -> Self {
        let mut registry = prometheus_client::registry::Registry::default();
        for family in &model.0 {
            // It ends the help with a full stop and a counter's name with `_total`.
            let (name, help) = (family.otel_name(), family.help.trim_end_matches('.'));
            match family.kind.as_str() {
                "counter" => {
                    let all = Family::<Labels, Counter<f64, AtomicU64>>::default();
                    for (labels, value) in &family.series {
                        if let Value::Single(value) = value {
                            all.get_or_create(labels).inc_by(*value);
                        }
                    }
                    registry.register(name, help, all);
                }
                "histogram" => {
                    let all = Family::<Labels, Histogram, Buckets>::new_with_constructor(Buckets(
                        family.bounds.clone(),
                    ));
                    for (labels, value) in &family.series {
                        if let Value::Histogram(counts) = value {
                            let one = all.get_or_create(labels);
                            family.observations(counts, |value| one.observe(value));
                        }
                    }
                    registry.register(name, help, all);
                }
                _ => {
                    let all = Family::<Labels, Gauge<f64, AtomicU64>>::default();
                    for (labels, value) in &family.series {
                        if let Value::Single(value) = value {
                            all.get_or_create(labels).set(*value);
                        }
                    }
                    registry.register(name, help, all);
                }
            }
        }
        Self { registry, text: String::new() }
    }

    pub(crate) fn scrape(&mut self) -> &[u8] {
        self.text.clear();
        prometheus_client::encoding::text::encode(&mut self.text, &self.registry)
            .expect("a String takes all");
        self.text.as_bytes()
    }
}

/// metrics with its Prometheus exporter.
pub(crate) struct Macros {
    handle: PrometheusHandle,
    _recorder: PrometheusRecorder,
    text: Vec<u8>,
}

impl Macros {
    pub(crate) fn new(model: &Model) -> Self {
        let mut builder = PrometheusBuilder::new();
        for family in model.0.iter().filter(|family| !family.bounds.is_empty()) {
            let name = Matcher::Full(family.name.clone());
            builder = builder.set_buckets_for_metric(name, &family.bounds).expect("there are bounds");
        }
        let recorder = builder.build_recorder();
        let metadata = Metadata::new("mirror", Level::INFO, None);
        for family in &model.0 {
            for (labels, value) in &family.series {
                let labels: Vec<Label> =
                    labels.iter().map(|(key, value)| Label::new(key.clone(), value.clone())).collect();
                let key = Key::from_parts(family.name.clone(), labels);
                let (name, help) = (family.name.clone().into(), family.help.clone().into());
                match value {
                    Value::Single(value) if family.kind == "counter" => {
                        recorder.describe_counter(name, None, help);
                        recorder.register_counter(&key, &metadata).increment(whole(*value));
                    }
                    Value::Single(value) => {
                        recorder.describe_gauge(name, None, help);
                        recorder.register_gauge(&key, &metadata).set(*value);
                    }
                    Value::Histogram(counts) => {
                        recorder.describe_histogram(name, None, help);
                        let one = recorder.register_histogram(&key, &metadata);
                        one.record_many(0.0, 0);
                        family.observations(counts, |value| one.record(value));
                    }
                }
            }
        }
        let handle = recorder.handle();
        // What was recorded is put into its buckets once, not in a scrape that is measured.
        handle.run_upkeep();
        Self { handle, _recorder: recorder, text: Vec::new() }
    }

    pub(crate) fn scrape(&mut self) -> &[u8] {
        self.text.clear();
        self.handle.render_to_write(&mut self.text).expect("a Vec takes all");
        &self.text
    }
}
