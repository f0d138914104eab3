//! W3C Trace Context: `traceparent` and `tracestate`.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use super::{Inbound, Outbound};

pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const TRACESTATE: &str = "tracestate";

/// `00-` trace id `-` span id `-` flags.
const LENGTH: usize = 55;
/// A later version may be longer; this is already generous.
const MAX_LENGTH: usize = 256;
/// What the specification (3.3.1.1) asks everybody to pass on at least.
const MAX_TRACESTATE: usize = 512;

pub(super) fn write(context: &Context, carrier: &mut impl Outbound) {
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return;
    }
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    carrier.put(TRACEPARENT, format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()));
    let state = span.trace_state().header();
    if !state.is_empty() && state.len() <= MAX_TRACESTATE {
        carrier.put(TRACESTATE, state);
    }
}

pub(super) fn read(context: Context, carrier: &(impl Inbound + ?Sized)) -> Context {
    let mut values = carrier.values(TRACEPARENT);
    // Two parents are none: neither can be preferred (3.2).
    let (Some(parent), None) = (values.next(), values.next()) else { return context };
    let Some((trace_id, span_id, flags)) = parse(parent.trim()) else { return context };
    context.with_remote_span_context(SpanContext::new(trace_id, span_id, flags, true, state(carrier)))
}

fn parse(value: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let bytes = value.as_bytes();
    let sized = match bytes.get(..2)? {
        b"00" => bytes.len() == LENGTH,
        _ => bytes.len() == LENGTH || bytes.len() <= MAX_LENGTH && bytes.get(LENGTH) == Some(&b'-'),
    };
    let version = hex(bytes.get(..2)?)?;
    let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    if !sized || !dashes || version == 0xff {
        return None;
    }
    let trace_id = TraceId::from(hex(bytes.get(3..35)?)?);
    let span_id = SpanId::from(u64::try_from(hex(bytes.get(36..52)?)?).ok()?);
    let flags = u8::try_from(hex(bytes.get(53..LENGTH)?)?).ok()?;
    let valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    valid.then_some((trace_id, span_id, TraceFlags::new(flags) & TraceFlags::SAMPLED))
}

/// Lower-case digits alone, as the specification has it; `from_str_radix` would take a sign as well.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

fn state(carrier: &(impl Inbound + ?Sized)) -> TraceState {
    let mut joined = String::new();
    for value in carrier.values(TRACESTATE) {
        if joined.len() + 1 + value.len() > MAX_TRACESTATE {
            return TraceState::NONE;
        }
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(value);
    }
    joined.parse().unwrap_or(TraceState::NONE)
}
