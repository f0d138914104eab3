//! Attributes as labels.

use opentelemetry::KeyValue;

use super::names::sanitize_label;
use super::series::is_same_text;
use super::text::write_value;

/// Turns attributes into `{name="value",…}`, sorted by name as Python's client does it.
///
/// The points of a family have few key sets, so what depends on the keys alone (names, order, joins) is worked out once
/// per set and then only filled in.
#[derive(Default)]
pub(super) struct Labels<'a> {
    /// Whether `le` is a label of the family's own.
    histogram: bool,
    shapes: Vec<Shape<'a>>,
    last: usize,
    pairs: Vec<&'a KeyValue>,
}

struct Shape<'a> {
    keys: Vec<&'a str>,
    columns: Vec<Column>,
}

struct Column {
    /// `",name="`: it closes the column before.
    open: Vec<u8>,
    before_le: bool,
    /// More than one where different keys arrive at the same name.
    sources: Vec<usize>,
}

/// More key sets than this in one family are worked out again for each point: memory stays bounded.
const MAX_SHAPES: usize = 64;

impl<'a> Labels<'a> {
    pub(super) fn of_a_histogram() -> Self {
        Self { histogram: true, ..Self::default() }
    }

    /// Takes the attributes of a point.
    pub(super) fn read(&mut self, attributes: impl Iterator<Item = &'a KeyValue>) {
        self.pairs.clear();
        self.pairs.extend(attributes);
    }

    /// What was read.
    pub(super) fn attributes(&self) -> &[&'a KeyValue] {
        &self.pairs
    }

    /// Finds the shape of what was read, which is then written.
    pub(super) fn find_shape(&mut self) {
        let pairs = self.pairs.as_slice();
        let same = |shape: &Shape<'a>| {
            shape.keys.len() == pairs.len()
                && shape.keys.iter().zip(pairs).all(|(key, pair)| is_same_text(key, pair.key.as_str()))
        };
        if !self.shapes.get(self.last).is_some_and(same) {
            self.last = self.shapes.iter().position(same).unwrap_or_else(|| {
                if self.shapes.len() >= MAX_SHAPES {
                    self.shapes.clear();
                }
                let keys = pairs.iter().map(|pair| pair.key.as_str()).collect();
                self.shapes.push(Shape::new(keys, self.histogram));
                self.shapes.len() - 1
            });
        }
    }

    /// Appends the labels in braces, or nothing where there are none.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some((first, others)) = self.columns().split_first() {
            out.push(b'{');
            self.write_column(out, first, &first.open[2..]);
            for column in others {
                self.write_column(out, column, &column.open);
            }
            out.extend_from_slice(b"\"}");
        }
    }

    /// Appends a bucket's labels up to the value of `le`.
    pub(super) fn write_before_le(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let (left, _) = self.columns_around_le();
        for (index, column) in left.iter().enumerate() {
            self.write_column(out, column, &column.open[if index == 0 { 2 } else { 0 }..]);
        }
        out.extend_from_slice(if left.is_empty() { b"le=\"" } else { b"\",le=\"" });
    }

    /// Appends a bucket's labels from behind the value of `le`.
    pub(super) fn write_after_le(&self, out: &mut Vec<u8>) {
        for column in self.columns_around_le().1 {
            self.write_column(out, column, &column.open);
        }
        out.extend_from_slice(b"\"}");
    }

    fn columns_around_le(&self) -> (&[Column], &[Column]) {
        let columns = self.columns();
        columns.split_at(columns.partition_point(|column| column.before_le))
    }

    fn columns(&self) -> &[Column] {
        self.shapes.get(self.last).map_or(&[], |shape| &shape.columns)
    }

    fn write_column(&self, out: &mut Vec<u8>, column: &Column, open: &[u8]) {
        out.extend_from_slice(open);
        for (index, source) in column.sources.iter().enumerate() {
            if index > 0 {
                out.push(b';');
            }
            write_value(out, &self.pairs[*source].value);
        }
    }
}

impl<'a> Shape<'a> {
    fn new(keys: Vec<&'a str>, histogram: bool) -> Self {
        let mut named: Vec<(String, usize)> =
            keys.iter().enumerate().map(|(index, key)| (sanitize_label(key, histogram), index)).collect();
        // "Ordered by the lexicographical order of the original keys" where several arrive at one name.
        named.sort_by(|left, right| left.0.cmp(&right.0).then_with(|| keys[left.1].cmp(keys[right.1])));
        let columns = named
            .chunk_by(|left, right| left.0 == right.0)
            .map(|same| Column {
                open: format!("\",{}=\"", same[0].0).into_bytes(),
                before_le: same[0].0.as_str() < "le",
                sources: same.iter().map(|(_, index)| *index).collect(),
            })
            .collect();
        Self { keys, columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pairs: &[KeyValue]) -> String {
        let mut labels = Labels::default();
        labels.read(pairs.iter());
        labels.find_shape();
        let mut out = Vec::new();
        labels.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn bucket(pairs: &[KeyValue]) -> String {
        let mut labels = Labels::of_a_histogram();
        labels.read(pairs.iter());
        labels.find_shape();
        let mut out = Vec::new();
        labels.write_before_le(&mut out);
        out.extend_from_slice(b"1.0");
        labels.write_after_le(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn labels_are_sorted_and_values_escaped() {
        let pairs =
            [KeyValue::new("status", "a\"b"), KeyValue::new("side", "c\\d"), KeyValue::new("note", "e\nf")];
        assert_eq!(block(&pairs), r#"{note="e\nf",side="c\\d",status="a\"b"}"#);
        assert_eq!(block(&[]), "");
    }

    #[test]
    fn keys_that_arrive_at_one_name_are_joined_in_the_order_of_the_keys() {
        let pairs = [KeyValue::new("a_b", "2"), KeyValue::new("a.b", "1"), KeyValue::new("a/b", 3)];
        assert_eq!(block(&pairs), r#"{a_b="1;3;2"}"#);
    }

    #[test]
    fn each_key_set_has_its_own_shape() {
        let mut labels = Labels::default();
        let sets: Vec<[KeyValue; 1]> =
            (0..3 * MAX_SHAPES).map(|index| [KeyValue::new(format!("k{}", index % 100), "v")]).collect();
        for set in &sets {
            labels.read(set.iter());
            labels.find_shape();
            let mut out = Vec::new();
            labels.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{{{}=\"v\"}}", set[0].key));
            assert!(labels.shapes.len() <= MAX_SHAPES);
        }
    }

    #[test]
    fn le_stands_where_python_sorts_it() {
        let pair = |key: &'static str, value: &'static str| KeyValue::new(key, value);
        assert_eq!(bucket(&[]), r#"{le="1.0"}"#);
        assert_eq!(bucket(&[pair("strategy", "x")]), r#"{le="1.0",strategy="x"}"#);
        assert_eq!(bucket(&[pair("channel", "x")]), r#"{channel="x",le="1.0"}"#);
        assert_eq!(
            bucket(&[pair("strategy", "y"), pair("channel", "x"), pair("a", "z")]),
            r#"{a="z",channel="x",le="1.0",strategy="y"}"#
        );
        assert_eq!(bucket(&[pair("le", "mine")]), r#"{exported_le="mine",le="1.0"}"#);
    }
}
