//! The exporters: OpenTelemetry's own, over connections that are ours.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol as OtelProtocol, RetryPolicy, SpanExporter,
    WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::LogExporter as _;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use secrecy::ExposeSecret;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::Signal;
use super::config::{Protocol, TargetConfig};
use super::error::{OtlpError, Problem};
use super::http_client::{Client, Notes};
use super::log_record::{LogItem, Records};
use super::tls;
use super::worker::Sink;

/// Why a batch was not delivered.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// How long the collector wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None }
    }
}

/// A way to a collector, not yet tried.
pub(super) struct Connection {
    how: How,
    endpoint: String,
    gzip: bool,
    /// For one batch with all its retries.
    budget: Duration,
    notes: Arc<Notes>,
}

enum How {
    Http(Client),
    Grpc(Channel, MetadataMap),
}

impl Connection {
    /// Has to be called inside the runtime that it will be used on.
    pub(super) fn new(signal: Signal, target: &TargetConfig, budget: Duration) -> Result<Self, OtlpError> {
        Self::try_new(target, budget).map_err(|problem| problem.of(signal))
    }

    fn try_new(target: &TargetConfig, budget: Duration) -> Result<Self, Problem> {
        let uri = check_endpoint(target)?;
        let headers = check_headers(target)?;
        let notes = Arc::new(Notes::default());
        let how = match target.protocol {
            Protocol::HttpProtobuf => {
                let builder = reqwest::Client::builder()
                    .timeout(target.timeout)
                    .redirect(reqwest::redirect::Policy::none())
                    .referer(false);
                let local = uri.host().is_some_and(is_loopback);
                let builder = if local { builder.no_proxy() } else { builder };
                let client = tls::http_client(builder, &uri, target)?;
                How::Http(Client::new(client, headers, Arc::clone(&notes)))
            }
            Protocol::Grpc => {
                let endpoint = Endpoint::from(uri.clone())
                    .timeout(target.timeout)
                    .connect_timeout(target.timeout)
                    .http2_keep_alive_interval(Duration::from_secs(30))
                    .keep_alive_timeout(target.timeout);
                let endpoint = tls::endpoint(endpoint, &uri, target)?;
                How::Grpc(endpoint.connect_lazy(), MetadataMap::from_headers(headers))
            }
        };
        Ok(Self { how, endpoint: target.endpoint.clone(), gzip: target.gzip, budget, notes })
    }

    fn over_http<B: WithExportConfig + WithHttpConfig>(&self, builder: B, client: Client) -> B {
        let builder = builder
            .with_endpoint(&self.endpoint)
            .with_protocol(OtelProtocol::HttpBinary)
            .with_timeout(self.budget)
            .with_retry_policy(retries())
            .with_http_client(client);
        if self.gzip { builder.with_compression(Compression::Gzip) } else { builder }
    }

    fn over_grpc<B: WithExportConfig + WithTonicConfig>(
        &self,
        builder: B,
        channel: Channel,
        headers: MetadataMap,
    ) -> B {
        let builder = builder
            .with_timeout(self.budget)
            .with_retry_policy(retries())
            .with_channel(channel)
            .with_metadata(headers);
        if self.gzip { builder.with_compression(Compression::Gzip) } else { builder }
    }

    pub(super) fn spans(self, resource: &Resource) -> Result<SpanSink, OtlpError> {
        let built = match self.how.clone() {
            How::Http(client) => self.over_http(SpanExporter::builder().with_http(), client).build(),
            How::Grpc(channel, headers) => {
                self.over_grpc(SpanExporter::builder().with_tonic(), channel, headers).build()
            }
        };
        let mut exporter = built.map_err(|_| unusable(Signal::Traces))?;
        exporter.set_resource(resource);
        Ok(SpanSink { exporter, notes: self.notes })
    }

    pub(super) fn logs(self, resource: &Resource) -> Result<LogSink, OtlpError> {
        let built = match self.how.clone() {
            How::Http(client) => self.over_http(LogExporter::builder().with_http(), client).build(),
            How::Grpc(channel, headers) => {
                self.over_grpc(LogExporter::builder().with_tonic(), channel, headers).build()
            }
        };
        let mut exporter = built.map_err(|_| unusable(Signal::Logs))?;
        exporter.set_resource(resource);
        Ok(LogSink { exporter, records: Records::default(), notes: self.notes })
    }

    pub(super) fn metrics(self) -> Result<MetricSink, OtlpError> {
        let builder = MetricExporter::builder().with_temporality(Temporality::Cumulative);
        let built = match self.how.clone() {
            How::Http(client) => self.over_http(builder.with_http(), client).build(),
            How::Grpc(channel, headers) => self.over_grpc(builder.with_tonic(), channel, headers).build(),
        };
        let exporter = built.map_err(|_| unusable(Signal::Metrics))?;
        Ok(MetricSink { exporter, notes: self.notes })
    }
}

impl Clone for How {
    fn clone(&self) -> Self {
        match self {
            Self::Http(client) => Self::Http(client.clone()),
            Self::Grpc(channel, headers) => Self::Grpc(channel.clone(), headers.clone()),
        }
    }
}

/// Retried are failed connections, 429, 502, 503, 504 and gRPC's like, as OTLP has it, for as long as the budget lasts.
fn retries() -> RetryPolicy {
    RetryPolicy::recommended()
        .with_max_retries(16)
        .with_initial_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
}

/// Everything that could be wrong was checked before, and their texts may hold the endpoint with its secrets.
fn unusable(signal: Signal) -> OtlpError {
    Problem::Endpoint(
        "the exporter refuses its settings; check the `OTEL_EXPORTER_OTLP_*` variables".to_owned(),
    )
    .of(signal)
}

fn check_endpoint(target: &TargetConfig) -> Result<Uri, Problem> {
    let uri = target.endpoint.parse::<Uri>().ok();
    let usable = uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    let Some(uri) = usable else {
        let problem = "the endpoint is not a URL such as http://localhost:4318/v1/traces; write it with scheme and host";
        return Err(Problem::Endpoint(problem.to_owned()));
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let problem = "the endpoint holds a user or password; send them in a header, such as `authorization`";
        return Err(Problem::Endpoint(problem.to_owned()));
    }
    Ok(uri)
}

fn check_headers(target: &TargetConfig) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in &target.headers {
        let Ok(key) = HeaderName::try_from(name.as_str()) else {
            return Err(Problem::Header(format!(
                "`{}` is not a header's name; use letters, digits and dashes",
                name.escape_debug()
            )));
        };
        let Ok(mut value) = HeaderValue::try_from(value.expose_secret()) else {
            return Err(Problem::Header(format!(
                "the value of header `{name}` has characters that no header may have; percent-encode it"
            )));
        };
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) struct SpanSink {
    exporter: SpanExporter,
    notes: Arc<Notes>,
}

impl Sink<SpanData> for SpanSink {
    async fn export(&self, batch: Vec<SpanData>) -> Result<(), Failure> {
        self.exporter.export(batch).await.map_err(|error| self.notes.failure(&error))
    }
}

pub(super) struct LogSink {
    exporter: LogExporter,
    records: Records,
    notes: Arc<Notes>,
}

impl Sink<LogItem> for LogSink {
    async fn export(&self, batch: Vec<LogItem>) -> Result<(), Failure> {
        let records = self.records.of(batch);
        let borrowed: Vec<_> = records.iter().map(|record| (record, self.records.scope())).collect();
        let batch = opentelemetry_sdk::logs::LogBatch::new(&borrowed);
        self.exporter.export(batch).await.map_err(|error| self.notes.failure(&error))
    }
}

pub(super) struct MetricSink {
    exporter: MetricExporter,
    notes: Arc<Notes>,
}

impl MetricSink {
    pub(super) async fn export(&self, metrics: &ResourceMetrics) -> Result<(), Failure> {
        self.exporter.export(metrics).await.map_err(|error| self.notes.failure(&error))
    }
}
