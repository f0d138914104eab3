//! Unsampled spans, held until their trace has ended here: it is exported if one of them failed.

use std::collections::{BTreeMap, HashMap};

use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;

/// The traces under way. When there is no room, the oldest is let go.
#[derive(Debug)]
pub(super) struct Held {
    room: usize,
    spans: usize,
    begun: u64,
    traces: HashMap<TraceId, Trace>,
    by_age: BTreeMap<u64, TraceId>,
}

#[derive(Debug)]
struct Trace {
    age: u64,
    /// Spans that have started and not ended.
    open: usize,
    keep: bool,
    ended: Vec<SpanData>,
}

impl Held {
    pub(super) fn new(room: usize) -> Self {
        Self { room, spans: 0, begun: 0, traces: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// An unsampled span has started. Returns how many spans were let go for it.
    pub(super) fn start(&mut self, trace_id: TraceId) -> u64 {
        if let Some(trace) = self.traces.get_mut(&trace_id) {
            trace.open += 1;
            return 0;
        }
        // Traces count as well: spans that never end would fill the map otherwise.
        let let_go = if self.traces.len() >= self.room { self.let_oldest_go() } else { 0 };
        self.begun += 1;
        self.by_age.insert(self.begun, trace_id);
        self.traces.insert(trace_id, Trace { age: self.begun, open: 1, keep: false, ended: Vec::new() });
        let_go
    }

    /// An unsampled span has ended. Gives out what is to be exported, and says how many spans were let go.
    pub(super) fn end(&mut self, span: SpanData, keep: bool) -> (Vec<SpanData>, u64) {
        let trace_id = span.span_context.trace_id();
        let mut let_go = 0;
        while self.spans >= self.room && !keep && !self.traces.is_empty() {
            let_go += self.let_oldest_go();
        }
        let Some(trace) = self.traces.get_mut(&trace_id) else {
            // Its trace was let go. What fails is exported all the same.
            return if keep { (vec![span], let_go) } else { (Vec::new(), let_go + 1) };
        };
        trace.open = trace.open.saturating_sub(1);
        trace.keep |= keep;
        trace.ended.push(span);
        self.spans += 1;
        let done = trace.open == 0;
        let out = if trace.keep || done {
            self.spans -= trace.ended.len();
            std::mem::take(&mut trace.ended)
        } else {
            Vec::new()
        };
        let kept = trace.keep;
        if done {
            let age = trace.age;
            self.traces.remove(&trace_id);
            self.by_age.remove(&age);
        }
        (if kept { out } else { Vec::new() }, let_go)
    }

    /// Keeps a trace because of a span that was sampled. Gives out what is to be exported.
    pub(super) fn keep(&mut self, trace_id: TraceId) -> Vec<SpanData> {
        let Some(trace) = self.traces.get_mut(&trace_id) else { return Vec::new() };
        trace.keep = true;
        self.spans -= trace.ended.len();
        std::mem::take(&mut trace.ended)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    #[cfg(test)]
    pub(super) fn traces(&self) -> usize {
        self.traces.len()
    }

    fn let_oldest_go(&mut self) -> u64 {
        let Some((_, trace_id)) = self.by_age.pop_first() else { return 0 };
        let ended = self.traces.remove(&trace_id).map_or(0, |trace| trace.ended.len());
        self.spans -= ended;
        ended as u64
    }
}
