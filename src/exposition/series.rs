//! The series of a family: their label blocks, kept from scrape to scrape.
//!
//! Values change, labels hardly ever do. The SDK hands out the points of a family in the same order until one is added, so
//! that each point is only compared with the one that stood there last time; static and shared texts are then equal by
//! their address. Writing ten thousand blocks anew took twice as long as all the rest of the scrape.

use std::ops::Range;
use std::sync::Arc;

use opentelemetry::{KeyValue, Value};

use super::family::{Family, Type};
use super::labels::Labels;
use super::number::write_float;

/// The label blocks of a family's series, in the SDK's order, and the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    family: String,
    kind: Option<Type>,
    points: Vec<Point>,
    attributes: Vec<KeyValue>,
    /// Of a histogram's points, without `+Inf`.
    bounds: Vec<f64>,
    text: Vec<u8>,
    /// Where the beginnings of the buckets' lines end in the text.
    line_ends: Vec<usize>,
    order: Vec<u32>,
    repeated: bool,
    /// How many points of this scrape have been taken.
    taken: usize,
    changed: bool,
}

#[derive(Clone, Debug)]
struct Point {
    /// Where its attributes begin; they end where the next point's begin.
    attributes: usize,
    part: usize,
    bounds: usize,
    lines: usize,
    /// Where its text begins: the family's name, and for a histogram the line of each bucket up to its count.
    start: usize,
    block: usize,
    /// Attributes that the catalogue shares: those at the same address are the same.
    shared: Option<Arc<[KeyValue]>>,
}

impl SeriesTable {
    /// Starts a scrape of this family.
    pub(super) fn begin(&mut self, family: &Family<'_>) {
        if self.family != family.text_name || self.kind != Some(family.kind) {
            *self = Self { family: family.text_name.to_string(), kind: Some(family.kind), ..Self::default() };
        }
        self.taken = 0;
        self.changed = false;
    }

    /// Takes the next point, of which `labels` has read the attributes. `buckets` are a histogram's, without `+Inf`.
    pub(super) fn take(&mut self, part: usize, labels: &mut Labels<'_>, buckets: &[(f64, u64)]) {
        let at = self.taken;
        self.taken += 1;
        if let Some(point) = self.points.get(at) {
            let kept = &self.attributes[self.attributes_of(at)];
            if point.part == part && is_same(kept, labels.attributes()) && self.has_bounds(at, buckets) {
                return;
            }
            self.truncate(at);
        }
        self.changed = true;
        let (attributes, start) = (self.attributes.len(), self.text.len());
        self.attributes.extend(labels.attributes().iter().map(|pair| (*pair).clone()));
        labels.find_shape();
        let (bounds, lines) = (self.bounds.len(), self.line_ends.len());
        if self.kind == Some(Type::Histogram) {
            self.bounds.extend(buckets.iter().map(|(bound, _)| bound));
            for index in bounds..=self.bounds.len() {
                self.text.extend_from_slice(self.family.as_bytes());
                self.text.extend_from_slice(b"_bucket");
                labels.write_before_le(&mut self.text);
                write_float(&mut self.text, self.bounds.get(index).copied().unwrap_or(f64::INFINITY));
                labels.write_after_le(&mut self.text);
                self.text.push(b' ');
                self.line_ends.push(self.text.len());
            }
        } else {
            self.text.extend_from_slice(self.family.as_bytes());
        }
        let block = self.text.len();
        labels.write(&mut self.text);
        self.points.push(Point { attributes, part, bounds, lines, start, block, shared: None });
    }

    /// Takes the next point if it has these attributes, and says whether it does.
    pub(super) fn is_next(&mut self, attributes: &Arc<[KeyValue]>) -> bool {
        let kept = self.points.get(self.taken).and_then(|point| point.shared.as_ref());
        let is_next = kept.is_some_and(|kept| Arc::ptr_eq(kept, attributes));
        self.taken += usize::from(is_next);
        is_next
    }

    /// Remembers the attributes of the point that was taken last.
    pub(super) fn share(&mut self, attributes: &Arc<[KeyValue]>) {
        let last = self.taken.checked_sub(1).and_then(|last| self.points.get_mut(last));
        if let Some(last) = last {
            last.shared = Some(Arc::clone(attributes));
        }
    }

    /// Ends the scrape's points: from here on the order is right.
    pub(super) fn finish(&mut self) {
        if self.taken < self.points.len() {
            self.truncate(self.taken);
            self.changed = true;
        }
        if !self.changed {
            return;
        }
        self.order.clear();
        self.order.extend((0..self.points.len()).filter_map(|index| u32::try_from(index).ok()));
        let mut order = std::mem::take(&mut self.order);
        order.sort_by(|left, right| {
            let (left, right) = (*left as usize, *right as usize);
            // Equal blocks are rare. Which of them is left out follows from the attributes, not from the SDK's order,
            // so that it is always the same one.
            let blocks = self.block(left).cmp(self.block(right));
            blocks.then_with(|| self.identity(left).cmp(&self.identity(right)))
        });
        order.dedup_by(|right, left| self.block(*right as usize) == self.block(*left as usize));
        self.repeated = order.len() < self.points.len();
        self.order = order;
    }

    /// Whether a series was left out because another has its labels.
    pub(super) const fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// The series, as numbers of their points, in the order of the scrape.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().map(|index| *index as usize)
    }

    /// The labels in braces.
    pub(super) fn block(&self, point: usize) -> &[u8] {
        &self.text[self.points[point].block..self.end(point)]
    }

    /// The family's name with the labels; not for a histogram.
    pub(super) fn name_and_block(&self, point: usize) -> &[u8] {
        &self.text[self.points[point].start..self.end(point)]
    }

    /// The line of a histogram's bucket (the last is `+Inf`) up to its count.
    pub(super) fn line(&self, point: usize, bucket: usize) -> &[u8] {
        let point = &self.points[point];
        let line = point.lines + bucket;
        let start = if bucket == 0 { point.start } else { self.line_ends[line - 1] };
        &self.text[start..self.line_ends[line]]
    }

    fn has_bounds(&self, point: usize, buckets: &[(f64, u64)]) -> bool {
        let end = self.points.get(point + 1).map_or(self.bounds.len(), |next| next.bounds);
        let kept = &self.bounds[self.points[point].bounds..end];
        kept.len() == buckets.len()
            && kept.iter().zip(buckets).all(|(kept, (bound, _))| kept.to_bits() == bound.to_bits())
    }

    fn end(&self, point: usize) -> usize {
        self.points.get(point + 1).map_or(self.text.len(), |next| next.start)
    }

    pub(super) fn attributes(&self, point: usize) -> &[KeyValue] {
        &self.attributes[self.attributes_of(point)]
    }

    fn attributes_of(&self, point: usize) -> Range<usize> {
        let end = self.points.get(point + 1).map_or(self.attributes.len(), |next| next.attributes);
        self.points[point].attributes..end
    }

    fn identity(&self, point: usize) -> (String, usize) {
        let mut attributes: Vec<&KeyValue> = self.attributes(point).iter().collect();
        attributes.sort_by(|left, right| left.key.cmp(&right.key));
        (format!("{attributes:?}"), self.points[point].part)
    }

    fn truncate(&mut self, length: usize) {
        if let Some(first) = self.points.get(length) {
            self.attributes.truncate(first.attributes);
            self.bounds.truncate(first.bounds);
            self.line_ends.truncate(first.lines);
            self.text.truncate(first.start);
            self.points.truncate(length);
        }
    }
}

fn is_same(kept: &[KeyValue], read: &[&KeyValue]) -> bool {
    kept.len() == read.len()
        && kept.iter().zip(read).all(|(kept, read)| {
            is_same_text(kept.key.as_str(), read.key.as_str())
                && match (&kept.value, &read.value) {
                    (Value::String(kept), Value::String(read)) => is_same_text(kept.as_str(), read.as_str()),
                    (kept, read) => kept == read,
                }
        })
}

/// The kept one is alive, so that the same address is the same text.
pub(super) fn is_same_text(left: &str, right: &str) -> bool {
    std::ptr::eq(left, right) || left == right
}
