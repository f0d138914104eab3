//! What a service calls most: counters, histograms and gauges, beside the same calls of the peers.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and says what it saw"
)]

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::{Aggregation, Instrument, SdkMeterProvider, Stream};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};
use prometheus_client::metrics::family::Family;
use trading_telemetry::testing::TestTelemetry;
use trading_telemetry::{OrderStatus, OrderType, Side};

const STRATEGY: &str = "SwingMomentum";
/// As in the catalogue.
const FILL_LATENCY: [f64; 6] = [100.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

/// The labels of an order, as a user of prometheus-client writes them: nothing in them allocates.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OrderLabels {
    side: Word<Side>,
    order_type: Word<OrderType>,
    strategy: &'static str,
    status: Word<OrderStatus>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Word<T>(T);

macro_rules! encode {
    ($($word:ty),+) => {
        $(impl EncodeLabelValue for Word<$word> {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
                self.0.as_str().encode(encoder)
            }
        })+
    };
}
encode!(Side, OrderType, OrderStatus);

/// The labels of an exemplar; prometheus-client has no other way than to own them.
type Ids = Vec<(String, String)>;

fn order() -> (Side, OrderType, OrderStatus) {
    black_box((Side::Buy, OrderType::Limit, OrderStatus::Filled))
}

fn words() -> (&'static str, &'static str, &'static str, &'static str) {
    let (side, order_type, status) = order();
    (side.as_str(), order_type.as_str(), black_box(STRATEGY), status.as_str())
}

/// Eight strategies, so that a look-up has something to find: 480 series, as ours.
fn each_series(mut make: impl FnMut(Side, OrderType, &'static str, OrderStatus)) {
    let others = ["MeanReversion", "Pairs", "Breakout", "Carry", "Trend", "Value", "Quality"];
    for strategy in others.into_iter().chain([STRATEGY]) {
        for side in Side::ALL {
            for order_type in OrderType::ALL {
                for status in OrderStatus::ALL {
                    make(*side, *order_type, strategy, *status);
                }
            }
        }
    }
}

struct Peers {
    prometheus: prometheus::IntCounterVec,
    client: Family<OrderLabels, prometheus_client::metrics::counter::Counter>,
    meter: Meter,
    provider: SdkMeterProvider,
}

impl Peers {
    fn new() -> Self {
        let names = ["side", "order_type", "strategy", "status"];
        let options = prometheus::Opts::new("trading_orders_total", "Total orders submitted");
        let prometheus = prometheus::IntCounterVec::new(options, &names).expect("good names");
        let client = Family::default();
        let provider = sdk();
        each_series(|side, order_type, strategy, status| {
            prometheus.with_label_values(&[side.as_str(), order_type.as_str(), strategy, status.as_str()]);
            let labels = OrderLabels {
                side: Word(side),
                order_type: Word(order_type),
                strategy,
                status: Word(status),
            };
            let _ = client.get_or_create(&labels);
            macros(side.as_str(), order_type.as_str(), strategy, status.as_str());
        });
        Self { prometheus, client, meter: provider.meter("peer"), provider }
    }

    fn prometheus(&self) {
        let (side, order_type, strategy, status) = words();
        self.prometheus.with_label_values(&[side, order_type, strategy, status]).inc();
    }

    fn client(&self) {
        let (side, order_type, status) = order();
        let labels = OrderLabels {
            side: Word(side),
            order_type: Word(order_type),
            strategy: black_box(STRATEGY),
            status: Word(status),
        };
        self.client.get_or_create(&labels).inc();
    }
}

fn macros(side: &'static str, order_type: &'static str, strategy: &'static str, status: &'static str) {
    metrics::counter!(
        "trading_orders_total", "side" => side, "order_type" => order_type, "strategy" => strategy, "status" => status
    )
    .increment(1);
}

/// The SDK as a service sets it up by hand: one reader, a view for the buckets.
fn sdk() -> SdkMeterProvider {
    let view = |instrument: &Instrument| {
        let boundaries = FILL_LATENCY.to_vec();
        let aggregation = Aggregation::ExplicitBucketHistogram { boundaries, record_min_max: false };
        let named = instrument.name() == "fill_latency";
        named.then(|| Stream::builder().with_aggregation(aggregation).build().expect("a good view"))
    };
    let reader = opentelemetry_prometheus::exporter().build().expect("an exporter");
    SdkMeterProvider::builder().with_reader(reader).with_view(view).build()
}

fn labels() -> [KeyValue; 4] {
    let (side, order_type, strategy, status) = words();
    [
        KeyValue::new("order_type", order_type),
        KeyValue::new("side", side),
        KeyValue::new("status", status),
        KeyValue::new("strategy", strategy),
    ]
}

/// The same call on so many threads at once, each of which made what it calls; the time is that of one call.
fn on_threads<C: Fn()>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    threads: usize,
    make: impl Fn(usize) -> C + Sync,
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let (start, make) = (Barrier::new(threads), &make);
            std::thread::scope(|scope| {
                let handles: Vec<_> = (0..threads)
                    .map(|number| {
                        let start = &start;
                        scope.spawn(move || {
                            let call = make(number);
                            start.wait();
                            let began = Instant::now();
                            for _ in 0..calls {
                                call();
                            }
                            began.elapsed()
                        })
                    })
                    .collect();
                let times = handles.into_iter().map(|handle| handle.join().expect("no call panics"));
                times.max().unwrap_or(Duration::ZERO)
            })
        });
    });
}

/// Inside a sampled span of an order, as everything that is worth an exemplar is.
fn in_an_order(telemetry: &TestTelemetry, work: impl FnOnce()) {
    telemetry.run(|| {
        let _order =
            telemetry.order("abc123").symbol("AAPL").strategy(STRATEGY).span("submit_order").entered();
        work();
    });
}

fn ids() -> Ids {
    [
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("span_id", "00f067aa0ba902b7"),
        ("order_id", "abc123"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn counters(criterion: &mut Criterion) {
    PrometheusBuilder::new().install_recorder().map(drop).unwrap_or_default();
    let (telemetry, peers) = (TestTelemetry::new(), Peers::new());
    let counter = peers.meter.u64_counter("trading_orders").build();
    each_series(|side, order_type, strategy, status| {
        telemetry.metrics().strategy(strategy).order(side, order_type, status);
        let words =
            [("side", side.as_str()), ("order_type", order_type.as_str()), ("status", status.as_str())];
        let mut labels: Vec<_> = words.map(|(key, value)| KeyValue::new(key, value)).into();
        labels.push(KeyValue::new("strategy", strategy));
        counter.add(1, &labels);
    });
    let swing = telemetry.metrics().strategy(STRATEGY);
    let ours = || {
        let (side, order_type, status) = order();
        swing.order(side, order_type, status);
    };

    let mut group = criterion.benchmark_group("order");
    group.bench_function("ours", |bencher| bencher.iter(ours));
    group.bench_function("prometheus", |bencher| bencher.iter(|| peers.prometheus()));
    group.bench_function("prometheus-client", |bencher| bencher.iter(|| peers.client()));
    group.bench_function("metrics", |bencher| {
        bencher.iter(|| {
            let (side, order_type, strategy, status) = words();
            macros(side, order_type, strategy, status);
        });
    });
    group.bench_function("otel", |bencher| bencher.iter(|| counter.add(1, &labels())));
    let bound = counter.bind(&labels());
    group.bench_function("otel_bound", |bencher| bencher.iter(|| bound.add(black_box(1))));
    let (side, order_type, strategy, status) = words();
    let held = peers.prometheus.with_label_values(&[side, order_type, strategy, status]);
    group.bench_function("prometheus_held", |bencher| bencher.iter(|| black_box(&held).inc()));
    group.finish();

    let mut group = criterion.benchmark_group("order_in_span");
    in_an_order(&telemetry, || {
        group.bench_function("ours", |bencher| bencher.iter(ours));
        group.bench_function("prometheus", |bencher| bencher.iter(|| peers.prometheus()));
        let counter = CounterWithExemplar::<Ids>::default();
        group.bench_function("prometheus-client", |bencher| {
            bencher.iter(|| counter.inc_by(black_box(1), Some(ids()), None));
        });
    });
    group.finish();

    for threads in [2, 4] {
        let mut group = criterion.benchmark_group(format!("order_{threads}_threads"));
        on_threads(&mut group, "ours", threads, |_| ours);
        on_threads(&mut group, "prometheus", threads, |_| || peers.prometheus());
        on_threads(&mut group, "prometheus-client", threads, |_| || peers.client());
        on_threads(&mut group, "otel_bound", threads, |_| || bound.add(black_box(1)));
        group.finish();
    }
    // Each thread counts orders of its own: what they still share is the neighbourhood in memory.
    let mut group = criterion.benchmark_group("order_apart");
    let neighbours = [OrderStatus::Filled, OrderStatus::PartiallyFilled];
    on_threads(&mut group, "ours", 2, |number| {
        let (swing, status) = (&swing, neighbours[number]);
        move || swing.order(black_box(Side::Buy), black_box(OrderType::Limit), black_box(status))
    });
    on_threads(&mut group, "prometheus", 2, |number| {
        let (peers, status) = (&peers, neighbours[number].as_str());
        move || peers.prometheus.with_label_values(&["BUY", "LIMIT", STRATEGY, black_box(status)]).inc()
    });
    group.finish();
    let _ = peers.provider.shutdown();
}

fn histograms(criterion: &mut Criterion) {
    let (telemetry, provider) = (TestTelemetry::new(), sdk());
    let execution = telemetry.metrics().execution();
    let ours = || execution.fill_latency_ms(black_box(1250.0));
    let client = prometheus_client::metrics::histogram::Histogram::new(FILL_LATENCY);
    let observe = || client.observe(black_box(1250.0));

    let mut group = criterion.benchmark_group("fill");
    group.bench_function("ours", |bencher| bencher.iter(ours));
    group.bench_function("prometheus-client", |bencher| bencher.iter(observe));
    let bound = provider.meter("peer").f64_histogram("fill_latency").build().bind(&[]);
    group.bench_function("otel_bound", |bencher| bencher.iter(|| bound.record(black_box(1250.0))));
    let options = prometheus::HistogramOpts::new("trading_fill_latency_ms", "Time from signal to fill");
    let other =
        prometheus::Histogram::with_opts(options.buckets(FILL_LATENCY.to_vec())).expect("good buckets");
    group.bench_function("prometheus", |bencher| bencher.iter(|| other.observe(black_box(1250.0))));
    group.finish();

    let mut group = criterion.benchmark_group("fill_in_span");
    in_an_order(&telemetry, || {
        group.bench_function("ours", |bencher| bencher.iter(ours));
        group.bench_function("prometheus-client", |bencher| bencher.iter(observe));
        let exemplars = HistogramWithExemplars::<Ids>::new(FILL_LATENCY.into_iter());
        group.bench_function("prometheus-client_exemplar", |bencher| {
            bencher.iter(|| exemplars.observe(black_box(1250.0), Some(ids()), None));
        });
    });
    group.finish();

    for threads in [2, 4] {
        let mut group = criterion.benchmark_group(format!("fill_{threads}_threads"));
        on_threads(&mut group, "ours", threads, |_| ours);
        on_threads(&mut group, "prometheus-client", threads, |_| observe);
        on_threads(&mut group, "otel_bound", threads, |_| || bound.record(black_box(1250.0)));
        group.finish();
    }
}

fn gauges(criterion: &mut Criterion) {
    let (telemetry, provider) = (TestTelemetry::new(), sdk());
    let ml = telemetry.metrics().ml();
    let client = prometheus_client::metrics::gauge::Gauge::<f64, AtomicU64>::default();
    let mut group = criterion.benchmark_group("gauge");
    group.bench_function("ours", |bencher| bencher.iter(|| ml.psi(black_box(0.12))));
    group.bench_function("prometheus-client", |bencher| bencher.iter(|| client.set(black_box(0.12))));
    let bound = provider.meter("peer").f64_gauge("psi").build().bind(&[]);
    group.bench_function("otel_bound", |bencher| bencher.iter(|| bound.record(black_box(0.12))));
    let other =
        prometheus::Gauge::new("trading_ml_psi_drift", "Population Stability Index").expect("a good name");
    group.bench_function("prometheus", |bencher| bencher.iter(|| other.set(black_box(0.12))));
    group.finish();
}

criterion_group! {
    name = recording;
    config = support::criterion();
    targets = counters, histograms, gauges
}
criterion_main!(recording);
