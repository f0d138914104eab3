//! The catalogue's families, in its order.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use opentelemetry_sdk::metrics::data::ScopeMetrics;

use super::Selection;
use super::family::{Family, Part, Type};
use crate::metrics::catalog::{CATALOG, Instrument, Kind};
use crate::metrics::{Collected, HistogramPoint};

static ROWS: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let rows = CATALOG.iter().enumerate();
    // Their values are this crate's own; what the SDK has of them is for OTLP.
    let rows = rows.filter(|(_, row)| !matches!(row.kind, Kind::Histogram(_)));
    rows.map(|(index, row)| (row.otel_name(), index)).collect()
});

static RESERVED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let target = ["target", "target_info"].into_iter().map(str::to_owned);
    let rows = CATALOG.iter().map(|row| family(row, Vec::new(), Vec::new()));
    target.chain(rows.flat_map(|family| family.claims().map(Cow::into_owned).collect::<Vec<_>>())).collect()
});

/// Whether a name belongs to the catalogue or to `target_info`, published or not.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(name)
}

/// The published and selected families with their rows' numbers. One without points yet is there too: its `# HELP` and
/// `# TYPE` say that it exists, as in Python's client.
pub(super) fn families<'a>(
    collected: &'a Collected,
    selection: &Selection,
) -> impl Iterator<Item = (usize, Family<'a>)> {
    let mut parts: Vec<Vec<Part<'a>>> = CATALOG.iter().map(|_| Vec::new()).collect();
    for metric in collected.catalogue.metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
        if let Some(parts) = ROWS.get(metric.name()).and_then(|row| parts.get_mut(*row)) {
            parts.push(Part { metric, scope: Vec::new() });
        }
    }
    CATALOG
        .iter()
        .zip(parts)
        .enumerate()
        .filter(|(_, (row, _))| (collected.published)(row) && selection.families.shows(row))
        .map(|(index, (row, parts))| {
            let histograms = collected.catalogue.histograms.of(row).collect();
            (index, family(row, parts, histograms))
        })
        .filter(|(_, family)| family.is_asked_for(selection.names.as_ref()))
}

fn family<'a>(
    row: &'static Instrument,
    parts: Vec<Part<'a>>,
    histograms: Vec<HistogramPoint<'a>>,
) -> Family<'a> {
    let kind = match row.kind {
        Kind::Info => Type::Info,
        Kind::Counter => Type::Counter,
        Kind::Gauge => Type::Gauge,
        Kind::Histogram(_) => Type::Histogram,
    };
    Family {
        text_name: row.name.into(),
        openmetrics_name: row.openmetrics_name().into(),
        kind,
        help: row.help,
        unit: None, // the names hold it, and Python's client prints no `# UNIT` for them
        row: Some(row),
        parts,
        histograms,
    }
}
