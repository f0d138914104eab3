//! The span processor: sampled spans into the queue, unsampled ones held.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{Span as _, Status};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::Signal;
use super::held::Held;
use super::queue::Queue;
use super::sampling::Sampling;
use super::stats::OtlpStats;
use crate::lock::lock;
use crate::orders::ORDER_ID;

/// The only span processor: a second one would make each span dearer by a copy.
#[derive(Debug)]
pub(crate) struct OtlpSpanProcessor {
    queue: Queue<SpanData>,
    held: Option<Mutex<Held>>,
    /// Spares sampled spans the lock where nothing is held, which is nearly always.
    holds: AtomicBool,
    sampling: Sampling,
    stats: Arc<OtlpStats>,
}

impl OtlpSpanProcessor {
    pub(super) fn new(queue: Queue<SpanData>, sampling: Sampling, stats: Arc<OtlpStats>) -> Self {
        let held = sampling.holds().then(|| Mutex::new(Held::new(sampling.held_spans)));
        Self { queue, held, holds: AtomicBool::new(false), sampling, stats }
    }

    /// Whether a span is a reason to export all of its trace.
    fn is_kept(&self, span: &SpanData) -> bool {
        self.sampling.keep_errors && matches!(span.status, Status::Error { .. })
            || self.sampling.keep_orders && span.attributes.iter().any(|own| own.key.as_str() == ORDER_ID)
    }

    fn export(&self, span: SpanData) {
        let bytes = size(&span);
        self.queue.push(span, bytes);
    }
}

impl SpanProcessor for OtlpSpanProcessor {
    fn on_start(&self, span: &mut Span, _context: &Context) {
        if let Some(held) = &self.held
            && !span.span_context().is_sampled()
        {
            let let_go = {
                let mut held = lock(held);
                self.holds.store(true, Relaxed);
                held.start(span.span_context().trace_id())
            };
            self.stats.of(Signal::Traces).let_go(let_go);
        }
    }

    fn on_end(&self, span: SpanData) {
        let Some(held) = &self.held else {
            return self.export(span);
        };
        if span.span_context.is_sampled() {
            // Its parents may be held: the handler of a request, say, that did not know of the order yet.
            if self.holds.load(Relaxed) && self.is_kept(&span) {
                let out = lock(held).keep(span.span_context.trace_id());
                for span in out {
                    self.export(span);
                }
            }
            return self.export(span);
        }
        let keep = self.is_kept(&span);
        let (out, let_go) = {
            let mut held = lock(held);
            let ended = held.end(span, keep);
            self.holds.store(!held.is_empty(), Relaxed);
            ended
        };
        for span in out {
            self.export(span);
        }
        self.stats.of(Signal::Traces).let_go(let_go);
    }

    /// Says nothing: flush through the handle, which knows what was lost.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.queue.close();
        Ok(())
    }
}

/// About what a span takes in memory and on the wire.
fn size(span: &SpanData) -> usize {
    let attributes = |attributes: &[KeyValue]| -> usize {
        attributes
            .iter()
            .map(|attribute| {
                size_of::<KeyValue>()
                    + match &attribute.value {
                        Value::String(text) => text.as_str().len(),
                        _ => 0,
                    }
            })
            .sum()
    };
    let events: usize = span.events.iter().map(|event| 64 + attributes(&event.attributes)).sum();
    let links: usize = span.links.iter().map(|link| 64 + attributes(&link.attributes)).sum();
    size_of::<SpanData>() + attributes(&span.attributes) + events + links
}
