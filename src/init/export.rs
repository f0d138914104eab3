//! OTLP, from the settings.

use std::sync::Arc;

use opentelemetry_sdk::Resource;

use crate::metrics::Readings;
use crate::otlp::{
    BatchConfig, LogsConfig, MetricsConfig, Otlp, OtlpConfig, OtlpError, Protocol, Sampling, TargetConfig,
    TracesConfig,
};
use crate::settings::{
    BatchSettings, OtlpCompression, OtlpProtocol, OtlpSettings, OtlpTarget, SamplingSettings, Signal,
};

/// The export, or `None` where nothing is exported.
pub(super) fn start(
    settings: &OtlpSettings,
    resource: Resource,
    readings: Readings,
) -> Result<Option<Otlp>, OtlpError> {
    let target = |signal| settings.target(signal).map(target);
    let config = OtlpConfig {
        resource,
        traces: target(Signal::Traces).map(|target| TracesConfig {
            target,
            batch: batch(&settings.trace_batch),
            sampling: sampling(&settings.sampling),
        }),
        logs: target(Signal::Logs).map(|target| LogsConfig { target, batch: batch(&settings.log_batch) }),
        metrics: target(Signal::Metrics).map(|target| MetricsConfig {
            target,
            interval: settings.metric_interval,
            timeout: settings.metric_timeout,
            collect: Arc::new(move || readings.export()),
        }),
    };
    if config.traces.is_none() && config.logs.is_none() && config.metrics.is_none() {
        return Ok(None);
    }
    Otlp::start(config).map(Some)
}

fn target(target: OtlpTarget<'_>) -> TargetConfig {
    TargetConfig {
        protocol: match target.protocol {
            OtlpProtocol::HttpProtobuf => Protocol::HttpProtobuf,
            OtlpProtocol::Grpc => Protocol::Grpc,
        },
        endpoint: target.endpoint.as_str().to_owned(),
        headers: target.headers.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
        gzip: target.compression == OtlpCompression::Gzip,
        timeout: target.timeout,
        certificate: target.certificate.map(Into::into),
        client_certificate: target.client_certificate.map(Into::into),
        client_key: target.client_key.map(Into::into),
    }
}

fn batch(settings: &BatchSettings) -> BatchConfig {
    BatchConfig {
        delay: settings.delay,
        timeout: settings.timeout,
        queue_items: settings.queue_items,
        batch_items: settings.batch_items,
        ..BatchConfig::default()
    }
}

/// How traces are sampled: with no export too, so that ids and exemplars are the same.
pub(super) fn sampling(settings: &SamplingSettings) -> Sampling {
    Sampling {
        ratio: settings.root_ratio(),
        follow_parent: settings.follows_parent(),
        keep_errors: settings.keep_errors,
        keep_orders: settings.keep_orders,
        held_spans: settings.held_spans,
    }
}
