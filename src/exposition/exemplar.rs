//! An exemplar behind its sample.

use super::number::write_float;
use super::text::escape_label;
use crate::metrics::Exemplar;

/// What `OpenMetrics` allows the names and values of an exemplar's labels to add up to, in characters.
const MAX_CHARACTERS: usize = 128;

/// Appends ` # {…} value`. Where the labels would be too long the span's id goes first, then the order's; an id that is
/// cut would find nothing.
pub(super) fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    let trace = ("trace_id", exemplar.trace_id.to_string());
    let span = ("span_id", exemplar.span_id.to_string());
    let cost = |name: &str, value: &str| name.len() + value.chars().count();
    let mut room = MAX_CHARACTERS - cost(trace.0, &trace.1);

    let order = exemplar.order_id.as_deref().map(|id| (id, cost("order_id", id)));
    let order_fits = order.is_none_or(|(_, cost)| cost <= room);
    if let Some((_, cost)) = order {
        room = room.saturating_sub(cost);
    }

    out.extend_from_slice(b" # {");
    write_pair(out, trace.0, &trace.1);
    if cost(span.0, &span.1) <= room {
        out.push(b',');
        write_pair(out, span.0, &span.1);
    }
    if let Some((id, _)) = order
        && order_fits
    {
        out.push(b',');
        write_pair(out, "order_id", id);
    }
    out.extend_from_slice(b"} ");
    write_float(out, exemplar.value);
}

fn write_pair(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    escape_label(out, value);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceId};

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn text(order_id: Option<&str>) -> String {
        let mut out = Vec::new();
        let exemplar = Exemplar {
            trace_id: TraceId::from_hex(TRACE).unwrap(),
            span_id: SpanId::from_hex("00f067aa0ba902b7").unwrap(),
            order_id: order_id.map(str::to_owned),
            value: 1250.0,
        };
        write_exemplar(&mut out, &exemplar);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_three_ids_where_they_fit() {
        assert_eq!(
            text(Some("abc123")),
            format!(r#" # {{trace_id="{TRACE}",span_id="00f067aa0ba902b7",order_id="abc123"}} 1250.0"#)
        );
        assert_eq!(text(None), format!(r#" # {{trace_id="{TRACE}",span_id="00f067aa0ba902b7"}} 1250.0"#));
        // 40 characters of trace, 23 of span, 8 of the order's key: 57 are left, and counted as characters.
        let longest = "é".repeat(57);
        assert!(text(Some(&longest)).contains("span_id") && text(Some(&longest)).contains(&longest));
    }

    #[test]
    fn the_span_goes_first_then_the_order_and_neither_is_cut() {
        let long = "o".repeat(58);
        assert_eq!(text(Some(&long)), format!(r#" # {{trace_id="{TRACE}",order_id="{long}"}} 1250.0"#));
        let longest = "o".repeat(80);
        assert!(text(Some(&longest)).contains(&format!(r#"order_id="{longest}""#)));
        assert_eq!(text(Some(&"o".repeat(81))), format!(r#" # {{trace_id="{TRACE}"}} 1250.0"#));
    }

    #[test]
    fn an_order_id_cannot_break_the_line() {
        assert!(text(Some("a\"b\\c\nd")).contains(r#"order_id="a\"b\\c\nd""#));
    }
}
