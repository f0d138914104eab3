//! Exemplars as the exposition sees them: one per series and bucket, whoever keeps them.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};

use super::number::write_float;
use super::text::escape_label;
use crate::metrics::catalog::Instrument;

/// What `OpenMetrics` allows the names and values of an exemplar's labels to add up to, in characters.
const MAX_CHARACTERS: usize = 128;

/// One recorded value, and the order and span that it was recorded in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) order_id: Option<Arc<str>>,
    pub(crate) value: f64,
}

/// The exemplars of the catalogue's series.
pub(crate) trait Exemplars: Send + Sync {
    /// The exemplars of the series of `instrument` with these attributes, or `None` where it has none. Asked once per
    /// series and `OpenMetrics` scrape.
    fn series(
        &self,
        instrument: &Instrument,
        attributes: &mut dyn Iterator<Item = &KeyValue>,
    ) -> Option<Arc<dyn SeriesExemplars>>;
}

/// The exemplars of one series.
pub(crate) trait SeriesExemplars: Send + Sync {
    /// The exemplar of that bucket (the last is `+Inf`), or of a counter, which has the slot 0 alone. It must lie in
    /// that bucket.
    fn slot(&self, index: usize) -> Option<Exemplar>;
}

/// For whoever keeps none.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct NoExemplars;

#[cfg(test)]
impl Exemplars for NoExemplars {
    fn series(
        &self,
        _: &Instrument,
        _: &mut dyn Iterator<Item = &KeyValue>,
    ) -> Option<Arc<dyn SeriesExemplars>> {
        None
    }
}

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
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn text(order_id: Option<&str>) -> String {
        let mut out = Vec::new();
        let exemplar = Exemplar {
            trace_id: TraceId::from_hex(TRACE).unwrap(),
            span_id: SpanId::from_hex("00f067aa0ba902b7").unwrap(),
            order_id: order_id.map(Arc::from),
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
