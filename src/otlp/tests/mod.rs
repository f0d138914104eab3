//! The export against a collector on real sockets, over both protocols.

mod delivery;
mod faults;
#[path = "../../../tests/support/otlp_receiver.rs"]
mod receiver;
mod sampling;
mod tls;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, registry, reload};

use super::stats::SignalReport;
use super::*;
use crate::orders::{OrderTracerProvider, layer};
use receiver::{Behaviour, Receiver};

const BOTH: [Protocol; 2] = [Protocol::HttpProtobuf, Protocol::Grpc];

/// Longer than anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn target(protocol: Protocol, base: &str, signal: Signal) -> TargetConfig {
    let endpoint = match protocol {
        Protocol::Grpc => base.to_owned(),
        Protocol::HttpProtobuf => format!("{base}/v1/{}", signal.as_str()),
    };
    TargetConfig {
        protocol,
        endpoint,
        headers: vec![("x-api-key".to_owned(), "s3cret-key".into())],
        gzip: false,
        timeout: Duration::from_secs(10),
        certificate: None,
        client_certificate: None,
        client_key: None,
    }
}

fn traces(protocol: Protocol, base: &str) -> TracesConfig {
    let batch = BatchConfig { delay: Duration::from_millis(20), ..BatchConfig::default() };
    TracesConfig { target: target(protocol, base, Signal::Traces), batch, sampling: Sampling::default() }
}

fn logs(protocol: Protocol, base: &str) -> LogsConfig {
    let batch = BatchConfig { delay: Duration::from_millis(20), ..BatchConfig::default() };
    LogsConfig { target: target(protocol, base, Signal::Logs), batch }
}

fn service() -> opentelemetry_sdk::Resource {
    resource(&Service { name: "execution", version: "1.0.0", environment: "test", attributes: &[] })
}

fn only_traces(traces: TracesConfig) -> OtlpConfig {
    OtlpConfig { resource: service(), traces: Some(traces), logs: None, metrics: None }
}

/// What our own lines said, `event key=value …`.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn said(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn about(&self, event: &str) -> Vec<String> {
        self.said().into_iter().filter(|line| line.starts_with(event)).collect()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        #[derive(Default)]
        struct Text(String, String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                match field.name() {
                    "message" => self.0 = format!("{value:?}"),
                    name => _ = write!(self.1, " {name}={value:?}"),
                }
            }
        }
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push(format!("{}{}", text.0, text.1));
    }
}

/// As the layers for people are: without the exporter's own lines.
fn people<S: Subscriber + for<'span> LookupSpan<'span>>(lines: &Lines) -> impl Layer<S> + use<S> {
    lines.clone().with_filter(filter_fn(|metadata| !is_exporters(metadata)))
}

/// A process with an export and everything else that init would put around it.
struct Process {
    otlp: Otlp,
    lines: Lines,
    dispatch: Dispatch,
    provider: OrderTracerProvider,
}

impl Process {
    fn start(config: OtlpConfig) -> Self {
        let lines = Lines::default();
        let (exporter, set_exporter) = reload::Layer::new(None::<ExporterLayer>);
        let (logs, set_logs) = reload::Layer::new(None::<LogLayer>);
        let around = Dispatch::new(registry().with(exporter).with(logs).with(people(&lines)));
        let otlp = tracing::dispatcher::with_default(&around, || Otlp::start(config)).unwrap();
        set_exporter.reload(Some(otlp.exporter_layer())).unwrap();
        set_logs.reload(otlp.log_layer()).unwrap();
        let mut builder = SdkTracerProvider::builder();
        if let (Some(sampler), Some(processor)) = (otlp.sampler(), otlp.span_processor()) {
            builder = builder.with_sampler(sampler).with_span_processor(processor);
        }
        let provider = OrderTracerProvider(builder.build());
        let subscriber = registry()
            .with(otlp.exporter_layer())
            .with(layer(&provider))
            .with(otlp.log_layer())
            .with(people(&lines));
        let dispatch = Dispatch::new(subscriber);
        Self { otlp, lines, dispatch, provider }
    }

    fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, work)
    }

    fn spans(&self, count: usize) {
        self.work(|| (0..count).for_each(|_| tracing::info_span!("work").in_scope(|| {})));
    }

    fn traces(&self) -> SignalReport {
        self.otlp.stats().of(Signal::Traces).report()
    }

    fn wait(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !enough(self) {
            assert!(
                Instant::now() < until,
                "{what}: {:?}, {:?}",
                self.otlp.stats().report(),
                self.lines.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        other => format!("{other:?}"),
    })
}
