//! The scrape itself. Each point is written once, where the SDK has it, into one buffer; then the points are put in
//! order by their label blocks and copied out. No string is made per series.

use std::ops::Range;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::{HistogramDataPoint, MetricData};

use super::exemplar::{SeriesExemplars, write_exemplar};
use super::exponential::{classic_buckets, is_positive};
use super::family::{Family, Part, Type, each_number, identity};
use super::foreign::{self, Told};
use super::number::{write_count, write_float};
use super::text::{Labels, escape_help};
use super::{Collected, Exemplars, Format, Selection, catalogue};
use crate::metrics::catalog::{CATALOG, Kind};

/// Writes scrapes; keeps its buffers, and what it has logged, between them.
#[derive(Debug, Default)]
pub(crate) struct Renderer {
    scratch: Scratch,
    /// The order of each family's series at the last scrape. The SDK's own order seldom changes, so that this one, tried
    /// first, makes sorting a single pass.
    orders: Vec<Vec<u32>>,
    told: Told,
    size: usize,
}

#[derive(Debug, Default)]
struct Scratch {
    lines: Vec<u8>,
    series: Vec<Series>,
    buckets: Vec<(f64, u64)>,
    le: Vec<u8>,
}

/// The lines of one point.
#[derive(Debug)]
struct Series {
    lines: Range<usize>,
    /// Its label block within the lines.
    key: Range<usize>,
    part: usize,
    index: usize,
}

impl Renderer {
    /// The body of a scrape.
    pub(crate) fn render(&mut self, collected: &Collected, selection: &Selection, format: Format) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size);
        let names = selection.names.as_ref();
        for (ordinal, family) in catalogue::families(collected, selection) {
            self.family(&mut out, ordinal, &family, format, Some(&*collected.exemplars));
        }
        if selection.families.shows_the_rest() {
            if names.is_none_or(|names| names.takes("target_info") || names.takes("target")) {
                write_target_info(&mut out, collected.catalogue.resource(), format);
            }
            if let Some(foreign) = &collected.foreign {
                let families = foreign::families(foreign, &mut self.told);
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
        self.scratch.lines.clear();
        self.scratch.series.clear();
        let labels = if family.kind == Type::Histogram { Labels::with_le() } else { Labels::default() };
        let exemplars = exemplars.filter(|_| format == Format::OpenMetrics);
        let mut page = Page { scratch: &mut self.scratch, family, exemplars, labels };
        for (part, metric) in family.parts.iter().enumerate() {
            if family.kind.fits(metric.metric.data()) {
                page.part(part, metric);
            }
        }
        page.fill_in_zeros();

        write_head(out, family, format);
        if self.orders.len() <= ordinal {
            self.orders.resize_with(ordinal + 1, Vec::new);
        }
        let order = &mut self.orders[ordinal];
        self.scratch.sort(order, &family.parts);
        if self.scratch.write(out, order) {
            self.told.tell(&family.text_name, "two series have equal labels once their names are sanitized");
        }
    }
}

impl Scratch {
    fn key(&self, index: u32) -> &[u8] {
        &self.lines[self.series[index as usize].key.clone()]
    }

    fn sort(&self, order: &mut Vec<u32>, parts: &[Part<'_>]) {
        let count = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        if order.len() != self.series.len() {
            order.clear();
            order.extend(0..count);
        }
        // Equal blocks are rare and cost a comparison of the attributes, so that the same one is always left out.
        let original = |index: u32| {
            let series = &self.series[index as usize];
            identity(&parts[series.part], series.index)
        };
        let compare = |left: &u32, right: &u32| {
            let blocks = self.key(*left).cmp(self.key(*right));
            blocks.then_with(|| if left == right { blocks } else { original(*left).cmp(&original(*right)) })
        };
        if !order.is_sorted_by(|left, right| compare(left, right).is_le()) {
            order.sort_by(compare);
        }
    }

    /// Copies the series out; whether one was left out because another has its labels.
    fn write(&self, out: &mut Vec<u8>, order: &[u32]) -> bool {
        let mut last: Option<&[u8]> = None;
        let mut repeated = false;
        for index in order {
            let key = self.key(*index);
            if last == Some(key) {
                repeated = true;
                continue;
            }
            last = Some(key);
            out.extend_from_slice(&self.lines[self.series[*index as usize].lines.clone()]);
        }
        repeated
    }
}

/// The family that is being written.
struct Page<'p, 'a> {
    scratch: &'p mut Scratch,
    family: &'a Family<'a>,
    /// Whose exemplars are shown, if any are.
    exemplars: Option<&'p dyn Exemplars>,
    labels: Labels<'a>,
}

impl<'a> Page<'_, 'a> {
    fn part(&mut self, part: usize, metric: &'a Part<'a>) {
        each_number!(metric.metric.data(), data => self.points(part, metric, data));
    }

    fn points<T: Number>(&mut self, part: usize, metric: &'a Part<'a>, data: &'a MetricData<T>) {
        let scope = metric.scope.as_slice();
        match data {
            MetricData::Gauge(data) => {
                for (index, point) in data.data_points().enumerate() {
                    self.labels.fill(point.attributes().chain(scope));
                    self.single(part, index, point.value().float(), None);
                }
            }
            MetricData::Sum(data) => {
                for (index, point) in data.data_points().enumerate() {
                    let exemplars = (self.family.kind == Type::Counter)
                        .then(|| self.exemplars_of(&mut point.attributes()))
                        .flatten();
                    self.labels.fill(point.attributes().chain(scope));
                    self.single(part, index, point.value().float(), exemplars.as_deref());
                }
            }
            MetricData::Histogram(data) => {
                for (index, point) in data.data_points().enumerate() {
                    cumulate(point, &mut self.scratch.buckets);
                    let sum = self.has_sum(point.bounds().next()).then(|| point.sum().float());
                    let exemplars = self.exemplars_of(&mut point.attributes());
                    self.labels.fill(point.attributes().chain(scope));
                    self.histogram(part, index, point.count(), sum, exemplars.as_deref());
                }
            }
            MetricData::ExponentialHistogram(data) => {
                for (index, point) in data.data_points().enumerate() {
                    classic_buckets(point, &mut self.scratch.buckets);
                    let sum = is_positive(point).then(|| point.sum().float());
                    self.labels.fill(point.attributes().chain(scope));
                    self.histogram(part, index, point.count() as u64, sum, None);
                }
            }
        }
    }

    fn exemplars_of(
        &self,
        attributes: &mut dyn Iterator<Item = &KeyValue>,
    ) -> Option<Arc<dyn SeriesExemplars>> {
        self.exemplars?.series(self.family.row?, attributes)
    }

    fn has_sum(&self, first_bound: Option<f64>) -> bool {
        self.family.row.map_or_else(|| first_bound.is_none_or(|bound| bound >= 0.0), |row| row.has_sum())
    }

    /// The line of a gauge, a counter or an info, from the labels filled in.
    fn single(&mut self, part: usize, index: usize, value: f64, exemplars: Option<&dyn SeriesExemplars>) {
        let Self { scratch: Scratch { lines, series, .. }, family, labels, .. } = self;
        let start = lines.len();
        lines.extend_from_slice(family.text_name.as_bytes());
        let key = write_block(lines, labels);
        lines.push(b' ');
        write_float(lines, value);
        if value > 0.0
            && let Some(exemplar) = exemplars.and_then(|exemplars| exemplars.slot(0))
        {
            write_exemplar(lines, &exemplar);
        }
        lines.push(b'\n');
        series.push(Series { lines: start..lines.len(), key, part, index });
    }

    /// The lines of a histogram's point, from the buckets in the scratch and the labels filled in.
    fn histogram(
        &mut self,
        part: usize,
        index: usize,
        count: u64,
        sum: Option<f64>,
        exemplars: Option<&dyn SeriesExemplars>,
    ) {
        let Self { scratch: Scratch { lines, series, buckets, le }, family, labels, .. } = self;
        let start = lines.len();
        let mut below = 0;
        for (slot, (bound, cumulative)) in buckets.iter().copied().chain([(f64::INFINITY, count)]).enumerate()
        {
            le.clear();
            write_float(le, bound);
            lines.extend_from_slice(family.text_name.as_bytes());
            lines.extend_from_slice(b"_bucket");
            labels.write_with_le(lines, le);
            lines.push(b' ');
            write_count(lines, cumulative);
            // One that was recorded after this collection has no count to stand beside.
            if cumulative > below
                && let Some(exemplar) = exemplars.and_then(|exemplars| exemplars.slot(slot))
            {
                write_exemplar(lines, &exemplar);
            }
            lines.push(b'\n');
            below = cumulative;
        }
        lines.extend_from_slice(family.text_name.as_bytes());
        lines.extend_from_slice(b"_count");
        let key = write_block(lines, labels);
        lines.push(b' ');
        write_count(lines, count);
        lines.push(b'\n');
        if let Some(sum) = sum {
            lines.extend_from_slice(family.text_name.as_bytes());
            lines.extend_from_slice(b"_sum");
            labels.write(lines);
            lines.push(b' ');
            write_float(lines, sum);
            lines.push(b'\n');
        }
        series.push(Series { lines: start..lines.len(), key, part, index });
    }

    /// A label-less histogram of the catalogue that nothing was recorded into: the SDK cannot make it 0.
    fn fill_in_zeros(&mut self) {
        let Some(row) = self.family.row else { return };
        if let Kind::Histogram(bounds) = row.kind
            && row.labels.is_empty()
            && self.scratch.series.is_empty()
        {
            self.scratch.buckets.clear();
            self.scratch.buckets.extend(bounds.iter().map(|bound| (*bound, 0)));
            self.labels.fill(std::iter::empty());
            self.histogram(0, 0, 0, row.has_sum().then_some(0.0), None);
        }
    }
}

fn write_block(lines: &mut Vec<u8>, labels: &Labels<'_>) -> Range<usize> {
    let start = lines.len();
    labels.write(lines);
    start..lines.len()
}

/// The cumulative buckets of a point, without `+Inf`.
fn cumulate<T>(point: &HistogramDataPoint<T>, buckets: &mut Vec<(f64, u64)>) {
    buckets.clear();
    let mut total = 0_u64;
    for (bound, count) in point.bounds().zip(point.bucket_counts()) {
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
    labels.fill(attributes.iter());
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
