//! The catalogue's families, in its order.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use super::Selection;
use super::family::{Family, Type};
use crate::metrics::catalog::{CATALOG, Instrument, Kind};
use crate::metrics::{Collected, Figures};

static RESERVED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let target = ["target", "target_info"].into_iter().map(str::to_owned);
    let rows = CATALOG.iter().map(|row| family(row, None));
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
    collected
        .catalogue
        .rows()
        .enumerate()
        .filter(|(_, (row, _))| (collected.published)(row) && selection.families.shows(row))
        .map(|(ordinal, (row, figures))| (ordinal, family(row, Some(figures))))
        .filter(|(_, family)| family.is_asked_for(selection.names.as_ref()))
}

fn family<'a>(row: &'static Instrument, figures: Option<&'a Figures>) -> Family<'a> {
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
        figures,
        parts: Vec::new(),
    }
}
