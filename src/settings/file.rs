//! The settings file: YAML into [`Node`]s. Only our sections are looked into; the rest of the file is somebody else's.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::{DuplicateKeyPolicy, Error as YamlError, Location, NonFiniteFloatPolicy, Spanned};

use super::error::{Kind, Problem};
use super::node::{FileText, Node, Pair, Place, Raw, Style};

/// Reads a settings file's text.
///
/// # Errors
/// What is not YAML, a key that stands twice, and a file that is not a mapping.
pub(super) fn parse(path: &Path, text: String, sections: &[&str]) -> Result<Node, Problem> {
    let file = Arc::new(FileText { path: path.to_owned(), text });
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        // Both are ours to judge, and only in our sections: the rest of the file is not held against its owner.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        ignore_binary_tag_for_string: true,
    };
    let seed = Root { sections };
    let read = serde_saphyr::with_deserializer_from_str_with_options(&file.text, options, |yaml| {
        seed.deserialize(yaml)
    });
    let top = read.map_err(|error| refused(&file, &error))?;
    let pairs: Vec<Pair> = top.into_iter().map(|pair| pair.located(&file)).collect();
    let ours = pairs.iter().filter(|pair| sections.contains(&pair.key.as_str()));
    if let Some(second) = second_of_two(ours) {
        return Err(Problem::new(
            Kind::DuplicateKey,
            Some(&second.key_place),
            false,
            format_args!("`{}` stands here for the second time", second.key.escape_debug()),
            "take one of the two away",
        ));
    }
    let place = Place::File { file: Arc::clone(&file), line: 1, column: 1, length: 1 };
    Ok(Node { raw: Raw::Map(pairs), place })
}

/// The first key, at any depth, that its mapping has already.
fn second_of_two<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Option<&'a Pair> {
    let mut seen = HashSet::new();
    pairs
        .into_iter()
        .find_map(|pair| if seen.insert(pair.key.as_str()) { second_in(&pair.node) } else { Some(pair) })
}

fn second_in(node: &Node) -> Option<&Pair> {
    match &node.raw {
        Raw::Map(pairs) => second_of_two(pairs.iter()),
        Raw::List(items) => items.iter().find_map(second_in),
        Raw::Null | Raw::Scalar { .. } => None,
    }
}

fn refused(file: &Arc<FileText>, error: &YamlError) -> Problem {
    let place = error.location().map_or_else(|| start(file), |location| place(file, location));
    match error.without_snippet() {
        YamlError::Message { msg, .. } if msg.contains(NO_MAPPING) => Problem::new(
            Kind::InvalidYaml,
            Some(&place),
            false,
            NO_MAPPING,
            "write for example `monitoring: {prometheus_port: 8001}`",
        ),
        // Saphyr's own words tell a programmer which function to call.
        YamlError::MultipleDocuments { .. } => Problem::new(
            Kind::InvalidYaml,
            Some(&place),
            false,
            "a settings file is one YAML document, and here a second begins",
            "remove the line `---` before it",
        ),
        YamlError::ExternalMessage { msg, .. } => invalid(&place, msg),
        other if is_too_much(other) => Problem::new(
            Kind::InvalidYaml,
            Some(&place),
            false,
            format_args!("this is more than a settings file may hold: {}", message(other)),
            "write less; an alias (`*name`) counts as all that it repeats",
        ),
        other => invalid(&place, &message(other)),
    }
}

/// Whether the file is YAML, but with its aliases written out larger or deeper than the reader takes.
fn is_too_much(error: &YamlError) -> bool {
    match error {
        YamlError::AliasError { error, .. } => is_too_much(error.without_snippet()),
        YamlError::Budget { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => true,
        _ => false,
    }
}

/// What is wrong, without the place that Saphyr ends its messages with, which stands in front of ours.
fn message(error: &YamlError) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn invalid(place: &Place, message: &str) -> Problem {
    Problem::new(
        Kind::InvalidYaml,
        Some(place),
        false,
        format_args!("this is not valid YAML: {message}"),
        "check the indentation, colons and quotes here and in the line above",
    )
}

/// Where the content begins, for what Saphyr gives no place: behind comments and the mark of a document.
fn start(file: &Arc<FileText>) -> Place {
    let says_something = |line: &str| !(line.trim().is_empty() || line.starts_with('#') || line == "---");
    let line = file.text.lines().position(says_something).unwrap_or_default();
    Place::File { file: Arc::clone(file), line: line + 1, column: 1, length: 1 }
}

fn place(file: &Arc<FileText>, at: Location) -> Place {
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Place::File {
        file: Arc::clone(file),
        line: number(at.line()),
        column: number(at.column()),
        length: number(at.span().len()),
    }
}

const NO_MAPPING: &str = "a settings file is a mapping of sections";

struct Root<'a> {
    sections: &'a [&'a str],
}

struct Entry {
    key: Spanned<String>,
    value: Spanned<Shape>,
}

/// A value as YAML types it.
enum Shape {
    Null,
    /// A plain scalar whose spelling YAML's types lose (`1.10`); what was read stands in where the source cannot be
    /// asked.
    Typed(String),
    Text(String),
    List(Vec<Spanned<Shape>>),
    Map(Vec<Entry>),
}

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<Self::Value, D::Error> {
        yaml.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NO_MAPPING)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = if self.sections.contains(&key.value.as_str()) {
                map.next_value()?
            } else {
                map.next_value::<IgnoredAny>()?;
                Spanned::new(Shape::Null, key.referenced, key.defined)
            };
            entries.push(Entry { key, value });
        }
        Ok(entries)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(NO_MAPPING))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(NO_MAPPING))
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(yaml: D) -> Result<Self, D::Error> {
        yaml.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry()? {
            entries.push(Entry { key, value });
        }
        Ok(Shape::Map(entries))
    }
}

impl Entry {
    fn located(self, file: &Arc<FileText>) -> Pair {
        Pair {
            key: self.key.value,
            key_place: place(file, self.key.referenced),
            node: located(self.value, file),
        }
    }
}

fn located(value: Spanned<Shape>, file: &Arc<FileText>) -> Node {
    let place = place(file, value.referenced);
    let written = written(value.defined, file);
    let plain = |text: String| Raw::Scalar { text, style: Style::Plain };
    let raw = match value.value {
        Shape::Null => Raw::Null,
        Shape::Typed(read) => plain(written.map_or(read, str::to_owned)),
        Shape::Text(text) if written == Some(text.as_str()) => plain(text),
        Shape::Text(text) => Raw::Scalar { text, style: Style::Quoted },
        Shape::List(items) => Raw::List(items.into_iter().map(|item| located(item, file)).collect()),
        Shape::Map(entries) => Raw::Map(entries.into_iter().map(|entry| entry.located(file)).collect()),
    };
    Node { raw, place }
}

/// The scalar as it stands in the file.
fn written(at: Location, file: &FileText) -> Option<&str> {
    let start = usize::try_from(at.span().byte_offset()?).ok()?;
    let length = usize::try_from(at.span().byte_len()?).ok()?;
    file.text.get(start..start.checked_add(length)?).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Node, Problem> {
        parse(Path::new("settings.yaml"), text.to_owned(), &["monitoring", "health"])
    }

    proptest! {
        #[test]
        fn no_text_panics_the_reader(parts in prop::collection::vec(
            prop::sample::select(vec![
                "monitoring", "health", ":", ": ", "\n", "  ", "- ", "{", "}", "[", "]", ",", "\"", "'", "&a", "*a",
                "<<", "|", ">", "!x", "#", "\t", "ö", "8001", "null", "---", "?", "%", "\u{0}",
            ]),
            0..30,
        )) {
            let _ = read(&parts.concat());
        }
    }
}
