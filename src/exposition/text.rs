//! The pieces of a line: escaped values, label blocks, `# HELP` and `# TYPE`.

use std::fmt::Write as _;

use opentelemetry::{KeyValue, Value};

use super::Format;
use super::names::sanitize_label;

/// Appends a label value with backslash, quote and line feed escaped.
pub(super) fn escape_label(out: &mut Vec<u8>, value: &str) {
    escape(out, value, true);
}

/// Appends a help text; text 0.0.4 leaves its quotes alone, `OpenMetrics` escapes them.
pub(super) fn escape_help(out: &mut Vec<u8>, help: &str, format: Format) {
    escape(out, help, format == Format::OpenMetrics);
}

fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let bytes = text.as_bytes();
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    let mut done = 0;
    while let Some(length) = bytes[done..].iter().position(special) {
        let at = done + length;
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(&[b'\\', if bytes[at] == b'\n' { b'n' } else { bytes[at] }]);
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    if let Value::String(text) = value {
        escape_label(out, text.as_str());
    } else {
        let mut text = String::new();
        // Writing to a String fails only where a Display implementation does; these don't.
        let _ = write!(text, "{value}");
        escape_label(out, &text);
    }
}

/// Turns attributes into `name="value",…`, sorted by name as Python's client does it.
///
/// The points of a family have few key sets, so what depends on the keys alone (names, order, joins) is worked out once
/// per set and then only filled in.
#[derive(Default)]
pub(super) struct Labels<'a> {
    shapes: Vec<Shape<'a>>,
    last: usize,
    pairs: Vec<&'a KeyValue>,
    /// The block of the last call of [`Self::fill`], without braces.
    pub(super) block: Vec<u8>,
    /// Where a histogram's `le` belongs in `block`.
    pub(super) le_at: usize,
    le: bool,
}

struct Shape<'a> {
    keys: Vec<&'a str>,
    columns: Vec<Column>,
}

struct Column {
    /// `name="`
    open: Vec<u8>,
    before_le: bool,
    /// More than one where different keys arrive at the same name.
    sources: Vec<usize>,
}

/// More key sets than this in one family are worked out again for each point: memory stays bounded.
const MAX_SHAPES: usize = 64;

impl<'a> Labels<'a> {
    /// For a histogram, whose label `le` is its own.
    pub(super) fn with_le() -> Self {
        Self { le: true, ..Self::default() }
    }

    /// Fills [`Self::block`] with the labels of a point.
    pub(super) fn fill(&mut self, attributes: impl Iterator<Item = &'a KeyValue>) {
        self.pairs.clear();
        self.pairs.extend(attributes);
        let pairs = &self.pairs;
        let same = |shape: &Shape<'a>| {
            shape.keys.len() == pairs.len()
                && shape.keys.iter().zip(pairs).all(|(key, pair)| *key == pair.key.as_str())
        };
        if !self.shapes.get(self.last).is_some_and(same) {
            self.last = self.shapes.iter().position(same).unwrap_or_else(|| {
                if self.shapes.len() >= MAX_SHAPES {
                    self.shapes.clear();
                }
                self.shapes.push(Shape::new(pairs.iter().map(|pair| pair.key.as_str()).collect(), self.le));
                self.shapes.len() - 1
            });
        }

        self.block.clear();
        self.le_at = 0;
        for column in &self.shapes[self.last].columns {
            if !self.block.is_empty() {
                self.block.push(b',');
            }
            self.block.extend_from_slice(&column.open);
            for (index, source) in column.sources.iter().enumerate() {
                if index > 0 {
                    self.block.push(b';');
                }
                write_value(&mut self.block, &self.pairs[*source].value);
            }
            self.block.push(b'"');
            if column.before_le {
                self.le_at = self.block.len();
            }
        }
    }

    /// Appends the block in braces, or nothing where there are no labels.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if !self.block.is_empty() {
            out.push(b'{');
            out.extend_from_slice(&self.block);
            out.push(b'}');
        }
    }

    /// Appends the block in braces with `le` in its place.
    pub(super) fn write_with_le(&self, out: &mut Vec<u8>, le: &[u8]) {
        let (before, after) = self.block.split_at(self.le_at);
        out.push(b'{');
        out.extend_from_slice(before);
        out.extend_from_slice(if before.is_empty() { b"le=\"" } else { b",le=\"" });
        out.extend_from_slice(le);
        out.push(b'"');
        if before.is_empty() && !after.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(after);
        out.push(b'}');
    }
}

impl<'a> Shape<'a> {
    fn new(keys: Vec<&'a str>, le: bool) -> Self {
        let mut named: Vec<(String, usize)> =
            keys.iter().enumerate().map(|(index, key)| (sanitize_label(key, le), index)).collect();
        // "Ordered by the lexicographical order of the original keys" where several arrive at one name.
        named.sort_by(|left, right| left.0.cmp(&right.0).then_with(|| keys[left.1].cmp(keys[right.1])));
        let mut columns: Vec<(String, Vec<usize>)> = Vec::with_capacity(named.len());
        for (name, index) in named {
            match columns.last_mut() {
                Some((last, sources)) if *last == name => sources.push(index),
                _ => columns.push((name, vec![index])),
            }
        }
        let columns = columns
            .into_iter()
            .map(|(name, sources)| Column {
                before_le: name.as_str() < "le",
                open: format!("{name}=\"").into_bytes(),
                sources,
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
        labels.fill(pairs.iter());
        String::from_utf8(labels.block.clone()).unwrap()
    }

    #[test]
    fn labels_are_sorted_and_values_escaped() {
        let pairs =
            [KeyValue::new("status", "a\"b"), KeyValue::new("side", "c\\d"), KeyValue::new("note", "e\nf")];
        assert_eq!(block(&pairs), r#"note="e\nf",side="c\\d",status="a\"b""#);
    }

    #[test]
    fn keys_that_arrive_at_one_name_are_joined_in_the_order_of_the_keys() {
        let pairs = [KeyValue::new("a_b", "2"), KeyValue::new("a.b", "1"), KeyValue::new("a/b", 3)];
        assert_eq!(block(&pairs), r#"a_b="1;3;2""#);
    }

    #[test]
    fn le_stands_where_python_sorts_it() {
        let mut labels = Labels::with_le();
        let mut line = |pairs: &[KeyValue]| {
            let pairs: Vec<KeyValue> = pairs.to_vec();
            let pairs = pairs.leak();
            labels.fill(pairs.iter());
            let mut out = Vec::new();
            labels.write_with_le(&mut out, b"1.0");
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(&[]), r#"{le="1.0"}"#);
        assert_eq!(line(&[KeyValue::new("strategy", "x")]), r#"{le="1.0",strategy="x"}"#);
        assert_eq!(line(&[KeyValue::new("channel", "x")]), r#"{channel="x",le="1.0"}"#);
        assert_eq!(
            line(&[KeyValue::new("strategy", "y"), KeyValue::new("channel", "x")]),
            r#"{channel="x",le="1.0",strategy="y"}"#
        );
        assert_eq!(line(&[KeyValue::new("le", "mine")]), r#"{exported_le="mine",le="1.0"}"#);
    }

    #[test]
    fn quotes_in_a_help_text_are_escaped_in_openmetrics_alone() {
        let text = |format| {
            let mut out = Vec::new();
            escape_help(&mut out, "a \"b\" \\ \n", format);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(Format::Text), r#"a "b" \\ \n"#);
        assert_eq!(text(Format::OpenMetrics), r#"a \"b\" \\ \n"#);
    }
}
