//! The global provider: a service's own instruments and those of its libraries.
//!
//! The SDK calls observable instruments' callbacks while it holds the lock of its pipeline. One that panics poisons it,
//! one that hangs holds it for good, and one that makes an instrument waits for itself. So the callbacks never reach
//! the SDK: they run on a thread of ours, before the collection and under a deadline, into a buffer that the SDK's
//! own callback reads out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::metrics::{
    AsyncInstrument, AsyncInstrumentBuilder, BoundCounter, BoundSyncInstrument, Callback, Counter, Gauge,
    Histogram, HistogramBuilder, InstrumentBuilder, InstrumentProvider, Meter, MeterProvider,
    ObservableCounter, ObservableGauge, ObservableUpDownCounter, SyncInstrument, UpDownCounter,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;

use super::reader::SharedReader;
use crate::lock::lock;
use crate::told::Told;

/// Name of the threads that run a service's callbacks; the panic hook knows them by it.
pub(crate) const CALLBACK_THREAD: &str = "telemetry-callbacks";
/// How long one batch of callbacks may take before the one that it stands at is left behind.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long all callbacks of a collection may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// The provider behind `telemetry.meter()` and `opentelemetry::global`.
#[derive(Clone, Debug)]
pub(crate) struct ForeignProvider {
    sdk: SdkMeterProvider,
    reader: SharedReader,
    callbacks: Arc<Callbacks>,
    refused: RefusedBy,
}

#[derive(Clone)]
struct RefusedBy(Refused);

impl std::fmt::Debug for RefusedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefusedBy").finish_non_exhaustive()
    }
}

impl ForeignProvider {
    pub(crate) fn new(resource: Resource, refused: Refused) -> Result<Self, OTelSdkError> {
        let reader = SharedReader::new()?;
        let sdk = SdkMeterProvider::builder().with_resource(resource).with_reader(reader.clone()).build();
        Ok(Self { sdk, reader, callbacks: Arc::default(), refused: RefusedBy(refused) })
    }

    /// Runs the callbacks and collects, in [`DEADLINE`] at the most. An instrument whose callback panics or hangs is
    /// missing; all others are there.
    pub(crate) fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.callbacks.run();
        self.reader.collect(metrics)
    }

    /// How many callbacks have panicked or hung.
    pub(crate) fn failures(&self) -> u64 {
        self.callbacks.failures.load(Ordering::Relaxed)
    }
}

impl MeterProvider for ForeignProvider {
    fn meter_with_scope(&self, scope: InstrumentationScope) -> Meter {
        Meter::new(Arc::new(Guarded {
            inner: self.sdk.meter_with_scope(scope),
            callbacks: Arc::clone(&self.callbacks),
            refused: Arc::clone(&self.refused.0),
        }))
    }
}

/// A meter whose observable instruments are read out by us.
struct Guarded {
    inner: Meter,
    callbacks: Arc<Callbacks>,
    refused: Refused,
}

/// Where refused values of an instrument are counted, by its name.
pub(crate) type Refused = Arc<dyn Fn(&str) -> BoundCounter<u64> + Send + Sync>;

/// What a counter refuses, which the SDK does not: it would go down.
struct Refusals {
    name: String,
    refused: BoundCounter<u64>,
    told: Told,
}

impl Refusals {
    fn admits(&self, value: f64) -> bool {
        if value.is_finite() && value >= 0.0 {
            return true;
        }
        self.refused.add(1);
        self.told.once(|| {
            tracing::warn!(
                target: "trading_telemetry",
                instrument = self.name,
                value = %value,
                hint = "add what is 0 or more to a counter; further refusals are counted in trading_telemetry_refused_values_total",
                "metric_value_refused"
            );
        });
        false
    }
}

/// A counter of floats that never goes down.
struct Rising {
    inner: Counter<f64>,
    guard: Arc<Refusals>,
}

impl SyncInstrument<f64> for Rising {
    fn measure(&self, value: f64, attributes: &[KeyValue]) {
        if self.guard.admits(value) {
            self.inner.add(value, attributes);
        }
    }

    fn bind(&self, attributes: &[KeyValue]) -> Box<dyn BoundSyncInstrument<f64> + Send + Sync> {
        Box::new(BoundRising { inner: self.inner.bind(attributes), guard: Arc::clone(&self.guard) })
    }
}

struct BoundRising {
    inner: BoundCounter<f64>,
    guard: Arc<Refusals>,
}

impl BoundSyncInstrument<f64> for BoundRising {
    fn measure(&self, value: f64) {
        if self.guard.admits(value) {
            self.inner.add(value);
        }
    }
}

macro_rules! guarded {
    (sync $($name:ident: $instrument:ty),+ $(,)?) => {
        $(fn $name(&self, builder: InstrumentBuilder<'_, $instrument>) -> $instrument {
            let mut inner = self.inner.$name(builder.name);
            inner.description = builder.description;
            inner.unit = builder.unit;
            inner.build()
        })+
    };
    (histogram $($name:ident: $instrument:ty),+ $(,)?) => {
        $(fn $name(&self, builder: HistogramBuilder<'_, $instrument>) -> $instrument {
            let mut inner = self.inner.$name(builder.name);
            inner.description = builder.description;
            inner.unit = builder.unit;
            inner.boundaries = builder.boundaries;
            inner.build()
        })+
    };
    (observable $($name:ident: $instrument:ty, $value:ty);+ $(;)?) => {
        $(fn $name(&self, builder: AsyncInstrumentBuilder<'_, $instrument, $value>) -> $instrument {
            let mut inner = self.inner.$name(builder.name.clone());
            inner.description = builder.description;
            inner.unit = builder.unit;
            for callback in builder.callbacks {
                inner.callbacks.push(self.callbacks.add(&builder.name, callback));
            }
            inner.build()
        })+
    };
}

impl InstrumentProvider for Guarded {
    fn f64_counter(&self, builder: InstrumentBuilder<'_, Counter<f64>>) -> Counter<f64> {
        let refused = (self.refused)(&builder.name);
        let mut inner = self.inner.f64_counter(builder.name.clone());
        inner.description = builder.description;
        inner.unit = builder.unit;
        let guard = Arc::new(Refusals { name: builder.name.into_owned(), refused, told: Told::default() });
        Counter::new(Arc::new(Rising { inner: inner.build(), guard }))
    }

    guarded!(sync
        u64_counter: Counter<u64>,
        i64_up_down_counter: UpDownCounter<i64>, f64_up_down_counter: UpDownCounter<f64>,
        u64_gauge: Gauge<u64>, f64_gauge: Gauge<f64>, i64_gauge: Gauge<i64>,
    );
    guarded!(histogram f64_histogram: Histogram<f64>, u64_histogram: Histogram<u64>);
    guarded!(observable
        u64_observable_counter: ObservableCounter<u64>, u64;
        f64_observable_counter: ObservableCounter<f64>, f64;
        i64_observable_up_down_counter: ObservableUpDownCounter<i64>, i64;
        f64_observable_up_down_counter: ObservableUpDownCounter<f64>, f64;
        u64_observable_gauge: ObservableGauge<u64>, u64;
        i64_observable_gauge: ObservableGauge<i64>, i64;
        f64_observable_gauge: ObservableGauge<f64>, f64;
    );
}

/// Every callback of the service, and the thread that runs them.
#[derive(Default)]
struct Callbacks {
    entries: Mutex<Vec<Arc<dyn Entry>>>,
    worker: Mutex<Option<SyncSender<Arc<Batch>>>>,
    failures: AtomicU64,
}

impl Callbacks {
    /// Keeps the callback, and returns the one that gives the SDK what it last reported.
    fn add<T: Copy + Send + Sync + 'static>(&self, name: &str, callback: Callback<T>) -> Callback<T> {
        let entry = Arc::new(CallbackEntry {
            name: name.to_owned(),
            callback,
            reported: Mutex::default(),
            running: AtomicBool::new(false),
            told: Told::default(),
        });
        lock(&self.entries).push(Arc::clone(&entry) as Arc<dyn Entry>);
        Box::new(move |observer| {
            for (value, attributes) in &*lock(&entry.reported) {
                observer.observe(*value, attributes);
            }
        })
    }

    /// Runs every callback that does not hang already.
    fn run(&self) {
        let mut worker = lock(&self.worker);
        let until = Instant::now() + DEADLINE;
        let mut due: Vec<_> =
            lock(&self.entries).iter().filter(|entry| !entry.is_running()).cloned().collect();
        while !due.is_empty() && Instant::now() < until {
            let (done, finished) = sync_channel(1);
            let batch = Arc::new(Batch { entries: due, abandoned: AtomicBool::new(false), done });
            let Ok(sender) = worker.take().map_or_else(spawn, Ok) else { return };
            if sender.send(Arc::clone(&batch)).is_err() {
                return;
            }
            match finished.recv_timeout(PATIENCE) {
                Ok(failures) => {
                    self.failures.fetch_add(failures, Ordering::Relaxed);
                    *worker = Some(sender);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    batch.abandoned.store(true, Ordering::Release);
                    for hung in batch.entries.iter().filter(|entry| entry.is_running()) {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                        hung.leave();
                    }
                    due = batch.entries.iter().filter(|entry| !entry.is_running()).cloned().collect();
                }
            }
        }
    }
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").field("failures", &self.failures).finish_non_exhaustive()
    }
}

struct Batch {
    entries: Vec<Arc<dyn Entry>>,
    /// Set once nobody waits for the batch any more.
    abandoned: AtomicBool,
    done: SyncSender<u64>,
}

fn spawn() -> std::io::Result<SyncSender<Arc<Batch>>> {
    let (sender, batches) = sync_channel::<Arc<Batch>>(1);
    std::thread::Builder::new().name(CALLBACK_THREAD.into()).spawn(move || {
        for batch in batches {
            let mut failures = 0;
            for entry in &batch.entries {
                if batch.abandoned.load(Ordering::Acquire) {
                    return;
                }
                failures += u64::from(!entry.run());
            }
            let _ = batch.done.send(failures);
        }
    })?;
    Ok(sender)
}

trait Entry: Send + Sync {
    /// Whether a run has begun and not come back.
    fn is_running(&self) -> bool;
    /// Runs the callback and says whether it returned.
    fn run(&self) -> bool;
    /// Gives up on the run under way.
    fn leave(&self);
}

struct CallbackEntry<T> {
    name: String,
    callback: Callback<T>,
    /// What the last run reported; empty after one that failed, so that nothing stale is shown.
    reported: Mutex<Vec<(T, Vec<KeyValue>)>>,
    running: AtomicBool,
    told: Told,
}

impl<T> CallbackEntry<T> {
    fn tell(&self, what: &str) {
        self.told.once(|| {
            tracing::error!(
                target: "trading_telemetry",
                instrument = self.name,
                reason = what,
                hint = "its series are missing from the scrape until the callback returns",
                "metric_callback_failed"
            );
        });
    }
}

impl<T: Copy + Send + Sync + 'static> Entry for CallbackEntry<T> {
    fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    fn run(&self) -> bool {
        self.running.store(true, Ordering::Release);
        let buffer = Buffer(Mutex::default());
        let returned =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.callback)(&buffer))).is_ok();
        let reported = if returned { std::mem::take(&mut *lock(&buffer.0)) } else { Vec::new() };
        *lock(&self.reported) = reported;
        self.running.store(false, Ordering::Release);
        if !returned {
            self.tell("the callback panicked");
        }
        returned
    }

    fn leave(&self) {
        lock(&self.reported).clear();
        self.tell("the callback did not return");
    }
}

/// Collects what a callback observes.
struct Buffer<T>(Mutex<Vec<(T, Vec<KeyValue>)>>);

impl<T: Send + Sync> AsyncInstrument<T> for Buffer<T> {
    fn observe(&self, value: T, attributes: &[KeyValue]) {
        lock(&self.0).push((value, attributes.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};

    use super::*;

    fn names(provider: &ForeignProvider) -> Vec<(String, u64)> {
        let mut metrics = ResourceMetrics::default();
        provider.collect(&mut metrics).unwrap();
        let mut found: Vec<_> = metrics
            .scope_metrics()
            .flat_map(ScopeMetrics::metrics)
            .filter_map(|metric| match metric.data() {
                AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                    Some((metric.name().to_owned(), gauge.data_points().next()?.value()))
                }
                _ => None,
            })
            .collect();
        found.sort();
        found
    }

    fn gauge(meter: &Meter, name: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        meter.u64_observable_gauge(name).with_callback(move |observer| observer.observe(read(), &[])).build();
    }

    fn provider() -> ForeignProvider {
        let counter = SdkMeterProvider::default().meter("test").u64_counter("refused").build();
        ForeignProvider::new(Resource::builder_empty().build(), Arc::new(move |_| counter.bind(&[]))).unwrap()
    }

    fn eventually(condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < until, "did not come about in 20 s");
        }
    }

    #[test]
    fn a_callback_that_panics_takes_nobody_with_it_and_heals() {
        let provider = provider();
        let meter = provider.meter("service");
        let calls = AtomicU64::new(0);
        gauge(&meter, "bad", move || {
            assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "the first call fails");
            7
        });
        gauge(&meter, "good", || 1);
        assert_eq!(names(&provider), [("good".into(), 1)]);
        assert_eq!(provider.failures(), 1);
        eventually(|| names(&provider) == [("bad".into(), 7), ("good".into(), 1)]);
    }

    #[test]
    fn a_callback_that_blocks_for_ever_is_left_behind() {
        let provider = provider();
        let meter = provider.meter("service");
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        gauge(&meter, "before", || 1);
        gauge(&meter, "hung", move || {
            let _ = gate.lock().unwrap().recv();
            5
        });
        gauge(&meter, "behind", || 2);
        let healthy = [("before".to_owned(), 1), ("behind".to_owned(), 2)];
        assert_eq!(names(&provider), healthy);
        assert_eq!(provider.failures(), 1);
        // New instruments can be made while it hangs, and nobody waits for it again.
        gauge(&meter, "later", || 3);
        assert_eq!(names(&provider).len(), 3);
        assert_eq!(provider.failures(), 1);
        drop(release);
        eventually(|| names(&provider).len() == 4);
    }

    #[test]
    fn a_callback_may_make_an_instrument() {
        let provider = provider();
        let meter = provider.meter("service");
        let inner = meter.clone();
        gauge(&meter, "outer", move || {
            inner.u64_gauge("made_inside").build().record(9, &[]);
            1
        });
        assert_eq!(names(&provider), [("made_inside".into(), 9), ("outer".into(), 1)]);
        assert_eq!(provider.failures(), 0);
    }
}
