//! `otlp`: where traces, logs and metrics go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::tree::{choice, section};
use super::url::HttpUrl;

section! {
    /// Export over OTLP: off until there is an endpoint. The standard `OTEL_*` variables win over this section and
    /// work as the OpenTelemetry specification says.
    pub struct OtlpSettings {
        /// Collector for every signal; over HTTP the path of each signal (`v1/traces`) is added.
        endpoint: Option<HttpUrl> = None;
        /// `http/protobuf` or `grpc`.
        protocol: OtlpProtocol = OtlpProtocol::HttpProtobuf;
        /// Headers of every request, such as an API key. `headers_file` names a file with `name=value,…`.
        headers: BTreeMap<String, SecretString> = BTreeMap::new();
        /// `none` or `gzip`.
        compression: OtlpCompression = OtlpCompression::None;
        /// Time for one request.
        timeout as "timeout_seconds": Duration = Duration::from_secs(10);
        /// Certificates (PEM) to trust besides the system's.
        certificate: Option<PathBuf> = None;
        /// Private key (PEM) to show the collector.
        client_key: Option<PathBuf> = None;
        /// Certificate (PEM) to show the collector.
        client_certificate: Option<PathBuf> = None;
        /// Traces; what is not said here is as above.
        traces: SignalSettings = SignalSettings::default();
        /// Logs; what is not said here is as above.
        logs: SignalSettings = SignalSettings::default();
        /// Metrics; off unless asked for, because Prometheus scrapes them. Exporting them costs each recording into a
        /// histogram the SDK's own one as well, with its lock: some ten nanoseconds.
        metrics: SignalSettings = SignalSettings { export: Export::Off, ..SignalSettings::default() };
        /// How spans wait for their export.
        trace_batch: BatchSettings = BatchSettings::default();
        /// How log records wait for their export.
        log_batch: BatchSettings = BatchSettings { delay: Duration::from_secs(1), ..BatchSettings::default() };
        /// Time between two exports of the metrics.
        metric_interval as "metric_interval_seconds": Duration = Duration::from_mins(1);
        /// Time for one export of the metrics.
        metric_timeout as "metric_timeout_seconds": Duration = Duration::from_secs(30);
        /// Only `cumulative`: the scrape and the alerts read the same instruments.
        metric_temporality: Temporality = Temporality::Cumulative;
        /// Which traces are exported.
        sampling: SamplingSettings = SamplingSettings::default();
        /// Headers in which the trace crosses services: `tracecontext`, `baggage`; `none` sends none.
        propagators: Vec<Propagator> = vec![Propagator::TraceContext, Propagator::Baggage];
        /// Further attributes of the resource, such as `host.name`.
        resource_attributes: BTreeMap<String, String> = BTreeMap::new();
    }
}

section! {
    /// One signal's own export; `null` is as for all signals.
    pub struct SignalSettings {
        /// `auto` (when there is an endpoint), `true` (with no endpoint to the collector on this machine) or `false`.
        export: Export = Export::Auto;
        /// Collector for this signal, used exactly as it is.
        endpoint: Option<HttpUrl> = None;
        /// `http/protobuf` or `grpc`.
        protocol: Option<OtlpProtocol> = None;
        /// Headers besides those of all signals.
        headers: BTreeMap<String, SecretString> = BTreeMap::new();
        /// `none` or `gzip`.
        compression: Option<OtlpCompression> = None;
        /// Time for one request.
        timeout as "timeout_seconds": Option<Duration> = None;
        /// Certificates (PEM) to trust.
        certificate: Option<PathBuf> = None;
        /// Private key (PEM) to show the collector.
        client_key: Option<PathBuf> = None;
        /// Certificate (PEM) to show the collector.
        client_certificate: Option<PathBuf> = None;
    }
}

section! {
    /// How items wait for their export. What finds the queue full is lost, and counted.
    pub struct BatchSettings {
        /// Longest wait for a batch to fill.
        delay as "delay_seconds": Duration = Duration::from_secs(5);
        /// Time for the export of one batch.
        timeout as "timeout_seconds": Duration = Duration::from_secs(30);
        /// Items that may wait.
        queue_items: usize = 2048, from 1.0 to 10_000_000.0;
        /// Items in one batch; at most as many as may wait.
        batch_items: usize = 512, from 1.0 to 10_000_000.0;
    }
}

section! {
    /// Which traces are exported.
    pub struct SamplingSettings {
        /// A sampler of the OpenTelemetry specification; those named `parentbased_…` do as the caller's trace does.
        sampler: Sampler = Sampler::ParentBasedTraceIdRatio;
        /// Share of the traces, for the samplers named `…traceidratio`.
        ratio: f64 = 1.0, from 0.0 to 1.0;
        /// Whether a trace with an error is exported whatever the ratio says.
        keep_errors: bool = true;
        /// Whether a trace of an order is exported whatever the ratio says.
        keep_orders: bool = true;
        /// Unsampled spans that are held until their trace has ended; the oldest trace is let go first.
        held_spans: usize = 16_384, from 0.0 to 10_000_000.0;
    }
}

choice! {
    /// How OTLP is spoken.
    pub enum OtlpProtocol {
        /// Protocol buffers over HTTP/1.1.
        HttpProtobuf = "http/protobuf",
        /// gRPC over HTTP/2.
        Grpc = "grpc",
    }
}

choice! {
    /// How requests are compressed.
    pub enum OtlpCompression {
        /// Not.
        None = "none",
        /// gzip.
        Gzip = "gzip",
    }
}

choice! {
    /// Whether a signal is exported.
    pub enum Export {
        /// When there is an endpoint.
        Auto = "auto",
        /// Yes.
        On = "true",
        /// No.
        Off = "false",
    }
}

choice! {
    /// How metrics add up between two exports.
    pub enum Temporality {
        /// Since the start.
        Cumulative = "cumulative",
    }
}

choice! {
    /// The samplers of the OpenTelemetry specification.
    pub enum Sampler {
        /// Every trace.
        AlwaysOn = "always_on",
        /// No trace.
        AlwaysOff = "always_off",
        /// A share of the traces.
        TraceIdRatio = "traceidratio",
        /// As the caller's trace; every trace that starts here.
        ParentBasedAlwaysOn = "parentbased_always_on",
        /// As the caller's trace; none that starts here.
        ParentBasedAlwaysOff = "parentbased_always_off",
        /// As the caller's trace; a share of those that start here.
        ParentBasedTraceIdRatio = "parentbased_traceidratio",
    }
}

choice! {
    /// How a trace crosses services.
    pub enum Propagator {
        /// W3C `traceparent` and `tracestate`.
        TraceContext = "tracecontext",
        /// W3C `baggage`.
        Baggage = "baggage",
        /// Not at all.
        None = "none",
    }
}

/// What OTLP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The name in the settings and in the path of a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// Where one signal goes, and how: what was said of it, else of all signals.
#[derive(Clone, Debug)]
pub struct OtlpTarget<'a> {
    /// The URL to post to; for gRPC the server.
    pub endpoint: HttpUrl,
    /// How OTLP is spoken.
    pub protocol: OtlpProtocol,
    /// The headers of each request.
    pub headers: BTreeMap<&'a str, &'a SecretString>,
    /// How requests are compressed.
    pub compression: OtlpCompression,
    /// Time for one request.
    pub timeout: Duration,
    /// Certificates (PEM) to trust besides the system's.
    pub certificate: Option<&'a Path>,
    /// Private key (PEM) to show the collector.
    pub client_key: Option<&'a Path>,
    /// Certificate (PEM) to show the collector.
    pub client_certificate: Option<&'a Path>,
}

impl OtlpSettings {
    /// What was said of `signal` alone.
    pub fn signal(&self, signal: Signal) -> &SignalSettings {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }

    /// Where `signal` goes, or `None` if it is not exported.
    pub fn target(&self, signal: Signal) -> Option<OtlpTarget<'_>> {
        let own = self.signal(signal);
        let anywhere = own.endpoint.is_some() || self.endpoint.is_some();
        let wanted = match own.export {
            Export::Auto => anywhere,
            Export::On => true,
            Export::Off => false,
        };
        if !wanted {
            return None;
        }
        let protocol = own.protocol.unwrap_or(self.protocol);
        let collector = |protocol| match protocol {
            OtlpProtocol::Grpc => HttpUrl::fixed("http://localhost:4317"),
            OtlpProtocol::HttpProtobuf => HttpUrl::fixed("http://localhost:4318"),
        };
        let endpoint = own.endpoint.clone().unwrap_or_else(|| {
            let shared = self.endpoint.clone().unwrap_or_else(|| collector(protocol));
            match protocol {
                OtlpProtocol::Grpc => shared,
                OtlpProtocol::HttpProtobuf => shared.below(&format!("v1/{}", signal.as_str())),
            }
        });
        let headers = self.headers.iter().chain(&own.headers).map(|(name, value)| (name.as_str(), value));
        Some(OtlpTarget {
            endpoint,
            protocol,
            headers: headers.collect(),
            compression: own.compression.unwrap_or(self.compression),
            timeout: own.timeout.unwrap_or(self.timeout),
            certificate: own.certificate.as_deref().or(self.certificate.as_deref()),
            client_key: own.client_key.as_deref().or(self.client_key.as_deref()),
            client_certificate: own.client_certificate.as_deref().or(self.client_certificate.as_deref()),
        })
    }
}

impl SamplingSettings {
    /// The share of the traces that start here.
    pub fn root_ratio(&self) -> f64 {
        match self.sampler {
            Sampler::AlwaysOn | Sampler::ParentBasedAlwaysOn => 1.0,
            Sampler::AlwaysOff | Sampler::ParentBasedAlwaysOff => 0.0,
            Sampler::TraceIdRatio | Sampler::ParentBasedTraceIdRatio => self.ratio,
        }
    }

    /// Whether a trace that another service started is sampled as it says.
    pub fn follows_parent(&self) -> bool {
        matches!(
            self.sampler,
            Sampler::ParentBasedAlwaysOn | Sampler::ParentBasedAlwaysOff | Sampler::ParentBasedTraceIdRatio
        )
    }
}
