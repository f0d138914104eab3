//! The series of a family: their label blocks, kept from scrape to scrape.
//!
//! Values change, labels hardly ever do. The SDK hands out the points of a family in the same order until one is added, so
//! that each point is only compared with the one that stood there last time; static and shared texts are then equal by
//! their address. Writing ten thousand blocks anew took twice as long as all the rest of the scrape.

use std::ops::Range;

use opentelemetry::{KeyValue, Value};

use super::family::{Family, Type};
use super::labels::Labels;

/// The label blocks of a family's series, in the SDK's order, and the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    family: String,
    kind: Option<Type>,
    points: Vec<Point>,
    attributes: Vec<KeyValue>,
    text: Vec<u8>,
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
    /// Where its text begins: the family's name, and for a histogram all of a bucket's line but `le` and the count.
    start: usize,
    after_le: usize,
    block: usize,
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

    /// Takes the next point, of which `labels` has read the attributes.
    pub(super) fn take(&mut self, part: usize, labels: &mut Labels<'_>) {
        let at = self.taken;
        self.taken += 1;
        if let Some(point) = self.points.get(at) {
            let kept = &self.attributes[self.attributes_of(at)];
            if point.part == part && is_same(kept, labels.attributes()) {
                return;
            }
            self.truncate(at);
        }
        self.changed = true;
        let (attributes, start) = (self.attributes.len(), self.text.len());
        self.attributes.extend(labels.attributes().iter().map(|pair| (*pair).clone()));
        labels.find_shape();
        self.text.extend_from_slice(self.family.as_bytes());
        let mut after_le = self.text.len();
        if self.kind == Some(Type::Histogram) {
            self.text.extend_from_slice(b"_bucket");
            labels.write_before_le(&mut self.text);
            after_le = self.text.len();
            labels.write_after_le(&mut self.text);
        }
        let block = self.text.len();
        labels.write(&mut self.text);
        self.points.push(Point { attributes, part, start, after_le, block });
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

    /// What stands before and after the value of `le` in the line of a bucket.
    pub(super) fn around_le(&self, point: usize) -> (&[u8], &[u8]) {
        let point = &self.points[point];
        (&self.text[point.start..point.after_le], &self.text[point.after_le..point.block])
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
