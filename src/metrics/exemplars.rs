//! Exemplars of the typed groups: the SDK collects none.
//!
//! A slot is a sequence lock made of atomics: a reader that meets a write tries again, a writer that meets another
//! one leaves, because the newest exemplar is as good as the next. Nothing waits and nothing allocates.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceId};

use crate::orders::{Identity, with_context};

/// Bytes of an order id that a slot holds. OpenMetrics allows 128 characters for all labels of an exemplar, which
/// leaves 80 for the order id beside `trace_id`: a longer one could not be shown anyway.
const ORDER_ID_BYTES: usize = 80;
const WORDS: usize = ORDER_ID_BYTES / 8;
const NO_ORDER: u64 = u64::MAX;

/// The last sampled recording of a series (or of one of its buckets).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// `None` where the id is longer than OpenMetrics lets an exemplar be.
    pub(crate) order_id: Option<String>,
    pub(crate) value: f64,
}

/// Room for one exemplar. A cache line of its own, so that threads that fill neighbouring buckets do not meet.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Slot {
    /// Odd while a writer is inside; 0 when nothing was ever written.
    sequence: AtomicU64,
    trace: [AtomicU64; 2],
    span: AtomicU64,
    value: AtomicU64,
    order_len: AtomicU64,
    order: [AtomicU64; WORDS],
}

impl Slot {
    /// Keeps the recording if it was made inside a sampled order span.
    pub(crate) fn offer(&self, value: f64, order: &Identity, span: &SpanContext) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        if sequence & 1 == 1
            || self
                .sequence
                .compare_exchange(sequence, sequence + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        fence(Ordering::Release);
        let trace = span.trace_id().to_bytes();
        let (high, low) = trace.split_at(8);
        self.trace[0].store(word(high), Ordering::Relaxed);
        self.trace[1].store(word(low), Ordering::Relaxed);
        self.span.store(word(&span.span_id().to_bytes()), Ordering::Relaxed);
        self.value.store(value.to_bits(), Ordering::Relaxed);
        let id = order.order_id().as_bytes();
        if id.len() <= ORDER_ID_BYTES {
            self.order_len.store(id.len() as u64, Ordering::Relaxed);
            for (room, chunk) in self.order.iter().zip(id.chunks(8)) {
                room.store(word(chunk), Ordering::Relaxed);
            }
        } else {
            self.order_len.store(NO_ORDER, Ordering::Relaxed);
        }
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// The exemplar, or `None` where none was recorded or writers leave no gap.
    pub(crate) fn read(&self) -> Option<Exemplar> {
        for _ in 0..16 {
            let before = self.sequence.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            if before & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let mut trace = [0; 16];
            trace[..8].copy_from_slice(&self.trace[0].load(Ordering::Relaxed).to_be_bytes());
            trace[8..].copy_from_slice(&self.trace[1].load(Ordering::Relaxed).to_be_bytes());
            let span = self.span.load(Ordering::Relaxed).to_be_bytes();
            let value = f64::from_bits(self.value.load(Ordering::Relaxed));
            let order_len = self.order_len.load(Ordering::Relaxed);
            let mut order = [0; ORDER_ID_BYTES];
            for (chunk, room) in order.chunks_mut(8).zip(&self.order) {
                chunk.copy_from_slice(&room.load(Ordering::Relaxed).to_be_bytes());
            }
            fence(Ordering::Acquire);
            if self.sequence.load(Ordering::Relaxed) == before {
                let order_id = usize::try_from(order_len)
                    .ok()
                    .and_then(|len| order.get(..len))
                    .and_then(|bytes| std::str::from_utf8(bytes).ok())
                    .map(str::to_owned);
                return Some(Exemplar {
                    trace_id: TraceId::from_bytes(trace),
                    span_id: SpanId::from_bytes(span),
                    order_id,
                    value,
                });
            }
        }
        None
    }
}

/// Up to eight bytes as the high end of a word, so that `to_be_bytes` gives them back in order.
fn word(bytes: &[u8]) -> u64 {
    let mut padded = [0; 8];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_be_bytes(padded)
}

/// Calls `keep` where the current context is a sampled order span.
#[inline]
pub(crate) fn in_sampled_order(keep: impl FnOnce(&Identity, &SpanContext)) {
    with_context(|context| {
        if context.has_active_span() {
            in_span(context, keep);
        }
    });
}

/// Out of line, so that a recording outside a span does not pay for its registers.
#[inline(never)]
fn in_span(context: &Context, keep: impl FnOnce(&Identity, &SpanContext)) {
    let span = context.span();
    let span = span.span_context();
    if span.is_sampled()
        && let Some(order) = context.get::<Identity>()
    {
        keep(order, span);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use opentelemetry::trace::{TraceFlags, TraceState};

    use super::*;

    fn span(id: u64) -> SpanContext {
        SpanContext::new(
            TraceId::from(u128::from(id)),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        )
    }

    fn order(id: &str) -> Identity {
        Identity { order_id: id.into(), symbol: None, strategy: None }
    }

    #[test]
    fn a_slot_gives_back_what_was_offered() {
        let slot = Slot::default();
        assert_eq!(slot.read(), None);
        for id in ["", "a", "abc12345", "order-with-more-than-eight-bytes", &"x".repeat(80), "ünïcode"] {
            slot.offer(2.5, &order(id), &span(7));
            let read = slot.read().unwrap();
            assert_eq!(read.order_id.as_deref(), Some(id));
            assert_eq!((read.trace_id, read.span_id, read.value), (TraceId::from(7), SpanId::from(7), 2.5));
        }
    }

    #[test]
    fn an_id_that_could_not_be_shown_leaves_the_trace() {
        let slot = Slot::default();
        slot.offer(1.0, &order(&"x".repeat(81)), &span(7));
        assert_eq!(slot.read().unwrap().order_id, None);
    }

    #[test]
    fn a_reader_never_sees_half_of_two_writes() {
        let slot = Arc::new(Slot::default());
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (1..=3_u64)
            .map(|id| {
                let (slot, stop) = (Arc::clone(&slot), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let (order, span) = (order(&id.to_string().repeat(40)), span(id));
                    while !stop.load(Ordering::Relaxed) {
                        slot.offer(f64::from(u32::try_from(id).unwrap()), &order, &span);
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < 2_000 {
            if let Some(read) = slot.read() {
                let id = u64::from_be_bytes(read.span_id.to_bytes());
                assert_eq!(read.trace_id, TraceId::from(u128::from(id)));
                assert_eq!(read.value.to_string(), id.to_string());
                assert_eq!(read.order_id.unwrap(), id.to_string().repeat(40));
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
    }
}
