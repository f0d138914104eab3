//! The scrape itself: the values of each family are read out of the SDK's points, then its lines are written in order,
//! once. No string is made per series.

use std::ops::Range;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::MetricData;

use super::exemplar::write_exemplar;
use super::exponential::{classic_buckets, is_positive};
use super::family::{Family, Part, Type, each_number};
use super::foreign::{self, LeftOut};
use super::labels::Labels;
use super::number::{write_count, write_float};
use super::series::SeriesTable;
use super::text::escape_help;
use super::{Format, Selection, catalogue};
use crate::metrics::catalog::{CATALOG, Instrument};
use crate::metrics::{Collected, Exemplars, Figures, HistogramPoint, SeriesExemplars};

/// Writes scrapes; keeps its buffers, the families' label blocks, and what it has logged, between them.
#[derive(Debug, Default)]
pub(crate) struct Renderer {
    readings: Readings,
    tables: Vec<SeriesTable>,
    left_out: LeftOut,
    size: usize,
}

/// The values of the family that is being written.
#[derive(Debug, Default)]
struct Readings {
    points: Vec<Reading>,
    /// The cumulative buckets of all points, without `+Inf`.
    buckets: Vec<(f64, u64)>,
}

/// The value of one point.
#[derive(Debug)]
enum Reading {
    Single(f64),
    Histogram { count: u64, sum: Option<f64>, buckets: Range<usize> },
}

impl Renderer {
    /// The body of a scrape.
    pub(crate) fn render(&mut self, collected: &Collected, selection: &Selection, format: Format) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size);
        let names = selection.names.as_ref();
        let exemplars = (format == Format::OpenMetrics).then_some(&*collected.exemplars);
        for (ordinal, family) in catalogue::families(collected, selection) {
            self.family(&mut out, ordinal, &family, format, exemplars);
        }
        if selection.families.shows_the_rest() {
            if names.is_none_or(|names| names.takes("target_info") || names.takes("target")) {
                write_target_info(&mut out, &collected.resource, format);
            }
            if let Some(foreign) = &collected.foreign {
                let families = foreign::families(foreign, &mut self.left_out);
                for (ordinal, family) in
                    families.iter().enumerate().filter(|(_, one)| one.is_asked_for(names))
                {
                    self.family(&mut out, CATALOG.len() + ordinal, family, format, None);
                }
            }
        }
        if format == Format::OpenMetrics {
            out.extend_from_slice(b"# EOF\n");
        }
        self.size = out.len() + out.len() / 8;
        out
    }

    fn family(
        &mut self,
        out: &mut Vec<u8>,
        ordinal: usize,
        family: &Family<'_>,
        format: Format,
        exemplars: Option<&dyn Exemplars>,
    ) {
        if self.tables.len() <= ordinal {
            self.tables.resize_with(ordinal + 1, SeriesTable::default);
        }
        let table = &mut self.tables[ordinal];
        table.begin(family);
        self.readings.points.clear();
        self.readings.buckets.clear();

        let labels =
            if family.kind == Type::Histogram { Labels::of_a_histogram() } else { Labels::default() };
        let mut reader = Reader { readings: &mut self.readings, table, family, labels };
        for (part, metric) in family.parts.iter().enumerate() {
            if family.kind.fits(metric.metric.data()) {
                reader.part(part, metric);
            }
        }
        if let Some(figures) = family.figures {
            reader.figures(figures);
        }

        table.finish();
        if table.is_repeated() {
            self.left_out
                .tell(&family.text_name, "two series have equal labels once their names are sanitized");
        }
        write_head(out, family, format);
        let exemplars = exemplars.filter(|_| matches!(family.kind, Type::Counter | Type::Histogram));
        Writer { out, name: family.text_name.as_bytes(), table, readings: &self.readings }
            .write(|point| exemplars?.series(ordinal, point));
    }
}

/// Reads the points of a family.
struct Reader<'p, 'a> {
    readings: &'p mut Readings,
    table: &'p mut SeriesTable,
    family: &'a Family<'a>,
    labels: Labels<'a>,
}

impl<'a> Reader<'_, 'a> {
    fn part(&mut self, part: usize, metric: &'a Part<'a>) {
        each_number!(metric.metric.data(), data => self.points(part, metric, data));
    }

    fn points<T: Number>(&mut self, part: usize, metric: &'a Part<'a>, data: &'a MetricData<T>) {
        let scope = metric.scope.as_slice();
        match data {
            MetricData::Gauge(data) => {
                for point in data.data_points() {
                    self.readings.points.push(Reading::Single(point.value().float()));
                    self.take(part, point.attributes().chain(scope));
                }
            }
            MetricData::Sum(data) => {
                for point in data.data_points() {
                    self.readings.points.push(Reading::Single(point.value().float()));
                    self.take(part, point.attributes().chain(scope));
                }
            }
            MetricData::Histogram(data) => {
                for point in data.data_points() {
                    let sum = self.has_sum(point.bounds().next()).then(|| point.sum().float());
                    self.readings.histogram(point.count(), sum, |buckets| {
                        cumulate(point.bounds().zip(point.bucket_counts()), buckets);
                    });
                    self.take(part, point.attributes().chain(scope));
                }
            }
            MetricData::ExponentialHistogram(data) => {
                for point in data.data_points() {
                    let sum = is_positive(point).then(|| point.sum().float());
                    self.readings.histogram(point.count() as u64, sum, |all| classic_buckets(point, all));
                    self.take(part, point.attributes().chain(scope));
                }
            }
        }
    }

    /// Takes the labels of the point that was read last.
    fn take(&mut self, part: usize, attributes: impl Iterator<Item = &'a KeyValue>) {
        self.labels.read(attributes);
        self.table.take(part, &mut self.labels, self.readings.last_buckets());
    }

    fn has_sum(&self, first_bound: Option<f64>) -> bool {
        self.family.row.map_or_else(|| first_bound.is_none_or(|bound| bound >= 0.0), Instrument::has_sum)
    }

    /// A family of the catalogue.
    fn figures(&mut self, figures: &'a Figures) {
        for (attributes, value) in figures.singles() {
            self.readings.points.push(Reading::Single(value));
            self.take_shared(attributes);
        }
        for HistogramPoint { attributes, bounds, counts, sum } in figures.histograms() {
            let sum = self.has_sum(None).then_some(sum);
            let buckets = bounds.iter().copied().zip(counts.iter().copied());
            self.readings.histogram(counts.iter().sum(), sum, |all| cumulate(buckets, all));
            self.take_shared(attributes);
        }
    }

    /// As [`Self::take`]; most of the time the attributes are those that stood there at the last scrape.
    fn take_shared(&mut self, attributes: &'a Arc<[KeyValue]>) {
        if !self.table.is_next(attributes) {
            self.take(0, attributes.iter());
            self.table.share(attributes);
        }
    }
}

impl Readings {
    fn histogram(&mut self, count: u64, sum: Option<f64>, fill: impl FnOnce(&mut Vec<(f64, u64)>)) {
        let start = self.buckets.len();
        fill(&mut self.buckets);
        self.points.push(Reading::Histogram { count, sum, buckets: start..self.buckets.len() });
    }

    fn last_buckets(&self) -> &[(f64, u64)] {
        match self.points.last() {
            Some(Reading::Histogram { buckets, .. }) => &self.buckets[buckets.clone()],
            _ => &[],
        }
    }
}

/// Writes the lines of a family.
struct Writer<'p> {
    out: &'p mut Vec<u8>,
    name: &'p [u8],
    table: &'p SeriesTable,
    readings: &'p Readings,
}

impl Writer<'_> {
    fn write(mut self, exemplars_of: impl Fn(usize) -> Option<Arc<dyn SeriesExemplars>>) {
        for point in self.table.order() {
            let exemplars = exemplars_of(point);
            match &self.readings.points[point] {
                Reading::Single(value) => self.single(point, *value, exemplars.as_deref()),
                Reading::Histogram { count, sum, buckets } => {
                    let buckets = &self.readings.buckets[buckets.clone()];
                    self.histogram(point, buckets, *count, *sum, exemplars.as_deref());
                }
            }
        }
    }

    /// The line of a gauge, a counter or an info.
    fn single(&mut self, point: usize, value: f64, exemplars: Option<&dyn SeriesExemplars>) {
        self.out.extend_from_slice(self.table.name_and_block(point));
        self.out.push(b' ');
        write_float(self.out, value);
        if value > 0.0 {
            self.exemplar(exemplars, 0);
        }
        self.out.push(b'\n');
    }

    /// A histogram's `_count` or `_sum`.
    fn total(&mut self, suffix: &[u8], point: usize, value: f64) {
        self.out.extend_from_slice(self.name);
        self.out.extend_from_slice(suffix);
        self.out.extend_from_slice(self.table.block(point));
        self.out.push(b' ');
        write_float(self.out, value);
        self.out.push(b'\n');
    }

    fn histogram(
        &mut self,
        point: usize,
        buckets: &[(f64, u64)],
        count: u64,
        sum: Option<f64>,
        exemplars: Option<&dyn SeriesExemplars>,
    ) {
        let mut below = 0;
        let cumulative = buckets.iter().map(|(_, cumulative)| *cumulative).chain([count]);
        for (slot, cumulative) in cumulative.enumerate() {
            self.out.extend_from_slice(self.table.line(point, slot));
            write_count(self.out, cumulative);
            // One that was recorded after this collection has no count to stand beside.
            if cumulative > below {
                self.exemplar(exemplars, slot);
            }
            self.out.push(b'\n');
            below = cumulative;
        }
        self.total(b"_count", point, count.float());
        if let Some(sum) = sum {
            self.total(b"_sum", point, sum);
        }
    }

    fn exemplar(&mut self, exemplars: Option<&dyn SeriesExemplars>, slot: usize) {
        if let Some(exemplar) = exemplars.and_then(|exemplars| exemplars.slot(slot)) {
            write_exemplar(self.out, &exemplar);
        }
    }
}

/// Appends the cumulative buckets of a point, without `+Inf`.
fn cumulate(counts: impl Iterator<Item = (f64, u64)>, buckets: &mut Vec<(f64, u64)>) {
    let mut total = 0_u64;
    for (bound, count) in counts {
        total = total.saturating_add(count);
        if bound.is_finite() {
            buckets.push((bound, total));
        }
    }
}

fn write_head(out: &mut Vec<u8>, family: &Family<'_>, format: Format) {
    let name = family.name(format).as_bytes();
    // An empty description is none; the catalogue has no such row.
    if !family.help.is_empty() {
        out.extend_from_slice(b"# HELP ");
        out.extend_from_slice(name);
        out.push(b' ');
        escape_help(out, family.help, format);
        out.push(b'\n');
    }
    out.extend_from_slice(b"# TYPE ");
    out.extend_from_slice(name);
    out.push(b' ');
    out.extend_from_slice(family.kind.name(format).as_bytes());
    out.push(b'\n');
    if format == Format::OpenMetrics
        && let Some(unit) = &family.unit
    {
        out.extend_from_slice(b"# UNIT ");
        out.extend_from_slice(name);
        out.push(b' ');
        out.extend_from_slice(unit.as_bytes());
        out.push(b'\n');
    }
}

fn write_target_info(out: &mut Vec<u8>, resource: &Resource, format: Format) {
    if resource.is_empty() {
        return;
    }
    let (name, kind) = match format {
        Format::Text => ("target_info", "gauge"),
        Format::OpenMetrics => ("target", "info"),
    };
    let attributes: Vec<KeyValue> =
        resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    let mut labels = Labels::default();
    labels.read(attributes.iter());
    labels.find_shape();
    out.extend_from_slice(
        format!("# HELP {name} Target metadata\n# TYPE {name} {kind}\ntarget_info").as_bytes(),
    );
    labels.write(out);
    out.extend_from_slice(b" 1.0\n");
}

/// The SDK's number types.
trait Number: Copy {
    fn float(self) -> f64;
}

impl Number for f64 {
    fn float(self) -> f64 {
        self
    }
}

#[expect(clippy::cast_precision_loss, reason = "a Prometheus value is a float")]
impl Number for u64 {
    fn float(self) -> f64 {
        self as f64
    }
}

#[expect(clippy::cast_precision_loss, reason = "a Prometheus value is a float")]
impl Number for i64 {
    fn float(self) -> f64 {
        self as f64
    }
}
