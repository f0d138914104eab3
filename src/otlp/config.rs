//! What each signal's export is made from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use secrecy::SecretString;

use super::sampling::Sampling;

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// The signals to export, and who we are.
#[derive(Debug)]
pub(crate) struct OtlpConfig {
    pub(crate) resource: Resource,
    pub(crate) traces: Option<TracesConfig>,
    pub(crate) logs: Option<LogsConfig>,
    pub(crate) metrics: Option<MetricsConfig>,
}

#[derive(Debug)]
pub(crate) struct TracesConfig {
    pub(crate) target: TargetConfig,
    pub(crate) batch: BatchConfig,
    pub(crate) sampling: Sampling,
}

#[derive(Debug)]
pub(crate) struct LogsConfig {
    pub(crate) target: TargetConfig,
    pub(crate) batch: BatchConfig,
}

/// Collects what is to be exported: one for each provider. It may block, and runs on a thread of its own.
pub(crate) type Collect = Arc<dyn Fn() -> Vec<ResourceMetrics> + Send + Sync>;

pub(crate) struct MetricsConfig {
    pub(crate) target: TargetConfig,
    /// Between two exports.
    pub(crate) interval: Duration,
    /// For one export with all its retries.
    pub(crate) timeout: Duration,
    pub(crate) collect: Collect,
}

impl fmt::Debug for MetricsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, interval, timeout, collect: _ } = self;
        let mut config = f.debug_struct("MetricsConfig");
        config.field("target", target).field("interval", interval).field("timeout", timeout);
        config.finish_non_exhaustive()
    }
}

/// Where a signal goes.
pub(crate) struct TargetConfig {
    pub(crate) protocol: Protocol,
    /// The URL to post to, path and all; for gRPC the server. It may hold credentials, and is shown without them.
    pub(crate) endpoint: String,
    pub(crate) headers: Vec<(String, SecretString)>,
    pub(crate) gzip: bool,
    /// For one request.
    pub(crate) timeout: Duration,
    /// Certificates (PEM) to trust besides the system's.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
}

impl TargetConfig {
    /// The endpoint without user, path and query: a key may be in any of them.
    pub(crate) fn shown(&self) -> String {
        let Ok(uri) = self.endpoint.parse::<Uri>() else { return "(invalid)".to_owned() };
        let scheme = uri.scheme_str().unwrap_or("http");
        let host = uri.host().unwrap_or_default();
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}")
    }
}

impl fmt::Debug for TargetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("TargetConfig")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.shown())
            .field("headers", &names)
            .field("gzip", &self.gzip)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// How items wait for their export.
#[derive(Clone, Debug)]
pub(crate) struct BatchConfig {
    /// Longest wait for a batch to fill.
    pub(crate) delay: Duration,
    /// For the export of one batch with all its retries.
    pub(crate) timeout: Duration,
    pub(crate) queue_items: usize,
    pub(crate) batch_items: usize,
    /// Memory that waiting items may take, about: a few huge log lines must not be what 2,048 small ones are.
    pub(crate) queue_bytes: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            queue_items: 2048,
            batch_items: 512,
            queue_bytes: 32 << 20,
        }
    }
}
