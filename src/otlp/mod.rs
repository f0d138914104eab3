//! Export over OTLP: traces, logs and, if asked for, metrics.
//!
//! Everything about an export happens on one thread of ours, whose context is marked so that nothing it does is traced
//! or logged into itself. Those who record only put items into bounded queues, which never block. What is lost is
//! counted, and told in one line when it begins and one when it is over.

mod config;
mod data_points;
mod error;
mod held;
mod http_client;
mod layers;
mod log_record;
mod outage;
mod queue;
mod resource;
mod sampling;
mod spans;
mod stats;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod worker;

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::trace::SpanData;
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

pub(crate) use crate::settings::Signal;
pub(crate) use config::{
    BatchConfig, LogsConfig, MetricsConfig, OtlpConfig, Protocol, TargetConfig, TracesConfig,
};
pub(crate) use error::OtlpError;
pub(crate) use layers::{ExporterLayer, LogLayer, is_exporters};
pub(crate) use resource::{Service, resource};
#[cfg(test)]
pub(crate) use sampling::OrderSampler;
pub(crate) use sampling::Sampling;
pub(crate) use spans::OtlpSpanProcessor;
pub(crate) use stats::OtlpReport;
pub(crate) use stats::{OtlpStats, SignalStats};
pub(crate) use tls::install_crypto_provider;

use crate::background;
use crate::lock::lock;
use error::Problem;
use log_record::LogItem;
use outage::Outage;
use queue::{Queue, queue};
use transport::Connection;
use worker::{Attempts, Flush, export_batches, export_metrics};

/// The export as a whole.
#[derive(Debug)]
pub(crate) struct Otlp {
    stats: Arc<OtlpStats>,
    spans: Option<(Queue<SpanData>, Sampling)>,
    logs: Option<Queue<LogItem>>,
    thread: Mutex<Option<Thread>>,
}

/// The way to the thread; it ends when this is dropped.
#[derive(Debug)]
struct Thread {
    tasks: Vec<UnboundedSender<Flush>>,
    _stop: oneshot::Sender<()>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Builder = Box<dyn FnOnce() -> Result<Task, OtlpError> + Send>;

impl Otlp {
    /// Prepares the exporters and starts their thread. Connects to nothing yet: a collector may come later.
    ///
    /// # Errors
    /// An endpoint, header, certificate or key that cannot be used.
    pub(crate) fn start(config: OtlpConfig) -> Result<Self, OtlpError> {
        let stats = Arc::new(OtlpStats::default());
        let mut tasks = Vec::new();
        let mut ask = || {
            let (sender, receiver) = unbounded_channel();
            tasks.push(sender);
            receiver
        };
        let OtlpConfig { resource, traces, logs, metrics } = config;
        let mut builders: Vec<Builder> = Vec::new();

        let spans = traces.map(|TracesConfig { target, batch, sampling }| {
            let (queue, batches) = queue(Signal::Traces, &batch, &stats);
            let (asked, resource) = (ask(), resource.clone());
            builders.push(Box::new(move || {
                let sink = Connection::new(Signal::Traces, &target, batch.timeout)?.spans(&resource)?;
                let attempts = attempts(Signal::Traces, &target, batch.timeout);
                Ok(Box::pin(export_batches(batches, sink, batch.delay, attempts, asked)))
            }));
            (queue, sampling)
        });
        let logs = logs.map(|LogsConfig { target, batch }| {
            let (queue, batches) = queue(Signal::Logs, &batch, &stats);
            let (asked, resource) = (ask(), resource.clone());
            builders.push(Box::new(move || {
                let sink = Connection::new(Signal::Logs, &target, batch.timeout)?.logs(&resource)?;
                let attempts = attempts(Signal::Logs, &target, batch.timeout);
                Ok(Box::pin(export_batches(batches, sink, batch.delay, attempts, asked)))
            }));
            queue
        });
        if let Some(MetricsConfig { target, interval, timeout, collect }) = metrics {
            let (asked, stats) = (ask(), Arc::clone(&stats));
            builders.push(Box::new(move || {
                let sink = Connection::new(Signal::Metrics, &target, timeout)?.metrics()?;
                let attempts = attempts(Signal::Metrics, &target, timeout);
                Ok(Box::pin(export_metrics(collect, sink, interval, attempts, stats, asked)))
            }));
        }

        let (stop, stopped) = oneshot::channel();
        let (ready, prepared) = sync_channel(1);
        let subscriber = own_subscriber();
        let spawned =
            background::spawn("telemetry-otlp", move || run(builders, subscriber.as_ref(), &ready, stopped));
        spawned.map_err(|error| no_thread(&error))?;
        prepared.recv().map_err(|error| no_thread(&error))??;
        Ok(Self { stats, spans, logs, thread: Mutex::new(Some(Thread { tasks, _stop: stop })) })
    }

    /// The processor of spans, to be the only one of its provider.
    pub(crate) fn span_processor(&self) -> Option<OtlpSpanProcessor> {
        let (queue, sampling) = self.spans.clone()?;
        Some(OtlpSpanProcessor::new(queue, sampling, Arc::clone(&self.stats)))
    }

    /// The sampler that belongs to the processor.
    #[cfg(test)]
    pub(crate) fn sampler(&self) -> Option<OrderSampler> {
        self.spans.as_ref().map(|(_, sampling)| sampling.sampler())
    }

    /// The layer that takes log lines.
    pub(crate) fn log_layer(&self) -> Option<LogLayer> {
        self.logs.clone().map(LogLayer)
    }

    /// The layer that hears the exporter's own lines. To be added without a filter; others filter by
    /// [`is_exporters`].
    pub(crate) fn exporter_layer(&self) -> ExporterLayer {
        ExporterLayer(Arc::clone(&self.stats))
    }

    pub(crate) fn stats(&self) -> &Arc<OtlpStats> {
        &self.stats
    }

    /// Waits until everything recorded so far is exported or lost, `deadline` at the most.
    pub(crate) fn flush(&self, deadline: Duration) -> OtlpReport {
        if let Some(thread) = &*self.lock() {
            thread.flush(deadline, false);
        }
        self.stats.report()
    }

    /// Exports what is there, takes nothing any more, and ends the thread: `deadline` at the most, whatever the
    /// collector does. What has not arrived by then is lost. A second call only reports.
    pub(crate) fn shutdown(&self, deadline: Duration) -> OtlpReport {
        if let Some((spans, _)) = &self.spans {
            spans.close();
        }
        if let Some(logs) = &self.logs {
            logs.close();
        }
        let thread = self.lock().take();
        if let Some(thread) = thread {
            thread.flush(deadline, true);
            for signal in Signal::ALL {
                self.stats.of(signal).close();
            }
        }
        self.stats.report()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Thread>> {
        lock(&self.thread)
    }
}

impl Thread {
    fn flush(&self, deadline: Duration, last: bool) {
        let until = Instant::now() + deadline;
        let (done, finished) = channel();
        for task in &self.tasks {
            _ = task.send(Flush { done: done.clone(), last });
        }
        // A task that is gone drops its end, and so cannot be waited for.
        drop(done);
        for _ in &self.tasks {
            if finished.recv_timeout(until.saturating_duration_since(Instant::now())).is_err() {
                return;
            }
        }
    }
}

fn attempts(signal: Signal, target: &TargetConfig, timeout: Duration) -> Attempts {
    Attempts { timeout, outage: Outage::new(signal, target.shown()), not_before: None }
}

/// The subscriber of this thread, if it has its own: the export's lines go where those of its maker go. There is
/// usually none yet, and the thread then uses the global one.
fn own_subscriber() -> Option<Dispatch> {
    tracing::dispatcher::get_default(|current| (!current.is::<NoSubscriber>()).then(|| current.clone()))
}

fn no_thread(error: &dyn std::error::Error) -> OtlpError {
    Problem::Runtime(format!(
        "no thread to export on ({error}); raise the limit on threads or switch OTLP off"
    ))
    .into()
}

/// The export thread: makes the exporters where they will run, says how that went, and runs them until it is stopped.
fn run(
    builders: Vec<Builder>,
    subscriber: Option<&Dispatch>,
    ready: &SyncSender<Result<(), OtlpError>>,
    stopped: oneshot::Receiver<()>,
) {
    let _quiet = Context::enter_telemetry_suppressed_scope();
    let runtime =
        match runtime::Builder::new_current_thread().enable_all().thread_name("telemetry-otlp").build() {
            Ok(runtime) => runtime,
            Err(error) => {
                _ = ready.send(Err(no_thread(&error)));
                return;
            }
        };
    serve(&runtime, builders, subscriber, ready, stopped);
    // Without waiting: a name that is being looked up, or a callback that hangs, must not hold anybody.
    runtime.shutdown_background();
}

fn serve(
    runtime: &Runtime,
    builders: Vec<Builder>,
    subscriber: Option<&Dispatch>,
    ready: &SyncSender<Result<(), OtlpError>>,
    stopped: oneshot::Receiver<()>,
) {
    let _inside = runtime.enter();
    let tasks: Result<Vec<Task>, OtlpError> = builders.into_iter().map(|build| build()).collect();
    let tasks = match tasks {
        Ok(tasks) => tasks,
        Err(error) => {
            _ = ready.send(Err(error));
            return;
        }
    };
    let local = LocalSet::new();
    for task in tasks {
        match subscriber.cloned() {
            Some(subscriber) => local.spawn_local(task.with_subscriber(subscriber)),
            None => local.spawn_local(task),
        };
    }
    _ = ready.send(Ok(()));
    // Either end of the channel going away means the same.
    runtime.block_on(local.run_until(async { _ = stopped.await }));
}
