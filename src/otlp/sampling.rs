//! Which spans are exported.

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::orders::Identity;

/// Which traces are exported, as the OpenTelemetry specification has it, and what is kept whatever that says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// Share of the traces that start here, 0 to 1.
    pub(crate) ratio: f64,
    /// Whether a trace that another service started is sampled as it says.
    pub(crate) follow_parent: bool,
    /// Whether what this process did for a trace is exported if a span of it ended in error.
    pub(crate) keep_errors: bool,
    /// Whether what this process did for an order is exported.
    pub(crate) keep_orders: bool,
    /// Unsampled spans that are held until it is known whether their trace is kept.
    pub(crate) held_spans: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { ratio: 1.0, follow_parent: true, keep_errors: true, keep_orders: true, held_spans: 16_384 }
    }
}

impl Sampling {
    /// Whether unsampled spans are needed: there are any, and something may be kept.
    pub(super) fn holds(&self) -> bool {
        (self.keep_errors || self.keep_orders) && (self.ratio < 1.0 || self.follow_parent)
    }

    pub(crate) fn sampler(&self) -> OrderSampler {
        let root = if self.ratio >= 1.0 { Sampler::AlwaysOn } else { Sampler::TraceIdRatioBased(self.ratio) };
        OrderSampler {
            base: if self.follow_parent { Sampler::ParentBased(Box::new(root)) } else { root },
            keep_orders: self.keep_orders,
            hold: self.holds(),
        }
    }
}

/// Samples whole orders, and records instead of dropping while the rest of a trace may still fail.
#[derive(Clone, Debug)]
pub(crate) struct OrderSampler {
    base: Sampler,
    keep_orders: bool,
    hold: bool,
}

impl ShouldSample for OrderSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.base.should_sample(parent, trace_id, name, kind, attributes, links);
        if result.decision == SamplingDecision::Drop {
            if self.keep_orders && parent.is_some_and(|parent| parent.get::<Identity>().is_some()) {
                // Sampled rather than held: so the next service knows that the order is kept.
                result.decision = SamplingDecision::RecordAndSample;
            } else if self.hold {
                result.decision = SamplingDecision::RecordOnly;
            }
        }
        result
    }
}
