//! A YAML file as a tree in which every key and every value knows its place, so that an error can point at it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, Spanned};

use super::error::RuleError;

/// A file that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its path, for people.
    pub(crate) name: String,
    /// Its whole text.
    pub(crate) text: String,
}

impl Source {
    /// The file of a name, from its bytes.
    pub(crate) fn from_utf8(name: &str, bytes: Vec<u8>) -> Result<Self, RuleError> {
        let name = name.to_owned();
        String::from_utf8(bytes).map(|text| Self { name: name.clone(), text }).map_err(|error| {
            let before = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let (line, start) = before.lines().enumerate().last().unwrap_or_default();
            let is_at_start = before.is_empty() || before.ends_with('\n');
            let (line, column) = if is_at_start {
                (before.lines().count() + 1, 1)
            } else {
                (line + 1, start.chars().count() + 1)
            };
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let place = Place { source: Arc::new(Self { name, text }), line, column, width: 1 };
            place.error("not valid UTF-8: write this character anew and save the file as UTF-8")
        })
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) source: Arc<Source>,
    /// From 1; 0 where the place is the whole file.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// In characters, as far as it goes on that line.
    pub(crate) width: usize,
}

impl Place {
    fn new(source: &Arc<Source>, location: Location, width: usize) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            source: Arc::clone(source),
            line: number(location.line()),
            column: number(location.column()),
            width: width.max(1),
        }
    }

    /// An error at this place.
    pub(crate) fn error(&self, message: impl AsRef<str>) -> RuleError {
        RuleError::at(self, message.as_ref())
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What YAML can say.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// A mapping in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    pub(crate) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Map {
    /// Takes out the value of a key.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index).node)
    }

    /// Puts the entries of `other` over these.
    pub(crate) fn overlay(&mut self, other: Self) {
        for entry in other.entries {
            match self.entries.iter_mut().find(|own| own.key == entry.key) {
                Some(own) => *own = entry,
                None => self.entries.push(entry),
            }
        }
    }
}

impl Node {
    /// What it is, in the words of an error.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(value) => format!("the number {value}"),
            Value::Text(text) => format!("the text `{}`", beginning(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The text, or an error that says what to write.
    pub(crate) fn text(self, what: &str) -> Result<(String, Place), RuleError> {
        match self.value {
            Value::Text(text) => Ok((text, self.place)),
            Value::Number(_) | Value::Bool(_) => {
                Err(self.place.error(format!("{what} is a text: write {} in quotes", self.describe())))
            }
            _ => Err(self.place.error(format!("{what} is a text, found {}", self.describe()))),
        }
    }

    /// The mapping, or an error that says what to write.
    pub(crate) fn map(self, what: &str) -> Result<(Map, Place), RuleError> {
        match self.value {
            Value::Map(map) => Ok((map, self.place)),
            _ => Err(self
                .place
                .error(format!("{what} is a mapping (`key: value`), found {}", self.describe()))),
        }
    }

    /// The boolean, or an error that says what to write.
    pub(crate) fn bool(&self, what: &str) -> Result<bool, RuleError> {
        match self.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.place.error(format!("{what} is `true` or `false`, found {}", self.describe()))),
        }
    }

    /// A list of texts, or one text alone.
    pub(crate) fn texts(self, what: &str) -> Result<Vec<(String, Place)>, RuleError> {
        match self.value {
            Value::List(nodes) => nodes.into_iter().map(|node| node.text(what)).collect(),
            _ => Ok(vec![self.text(what)?]),
        }
    }
}

/// Reads a file's text; an empty one is an empty mapping.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Map, RuleError> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    let raw: Spanned<Raw> = match serde_saphyr::from_str_with_options(&source.text, options) {
        Ok(raw) => raw,
        Err(_) if is_blank(&source.text) => return Ok(Map::default()),
        Err(error) => {
            let location = error.location().unwrap_or(Location::UNKNOWN);
            return Err(Place::new(source, location, 1).error(yaml_message(&error)));
        }
    };
    let node = place(source, raw)?;
    match node.value {
        Value::Null => Ok(Map::default()),
        _ => Ok(node.map("the file")?.0),
    }
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#')
    })
}

/// As much of a text as an error repeats.
fn beginning(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut beginning: String = text.chars().take(LONGEST).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    beginning
}

/// What is wrong, and what to write where the parser speaks to programmers alone. Our own rendering shows the place better.
fn yaml_message(error: &Error) -> String {
    const TOO_DEEP: &str = "this is nested deeper than anything in such a file: write it with fewer levels";
    match error.without_snippet() {
        Error::MultipleDocuments { .. } => {
            "the file is more than one YAML document: remove the line `---`".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => TOO_DEEP.to_owned(),
        Error::Budget { .. } => {
            "the file holds more than such a file can need: remove what is not meant for it".to_owned()
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "the file repeats itself too often by aliases (`*name`): write out what is meant".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "this alias (`*name`) stands inside of what it repeats: write out what is meant".to_owned()
        }
        Error::NonFiniteFloat { value, .. } => {
            format!("`{}` is not finite: write a number such as `0.5`", beginning(value))
        }
        error => {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or(&text);
            // The parser below has a limit of its own, and no kind of error for it.
            if text == "recursion limit exceeded" {
                return TOO_DEEP.to_owned();
            }
            format!("not valid YAML: {}", beginning(text))
        }
    }
}

enum Raw {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

#[expect(clippy::cast_precision_loss, reason = "levels and counts, compared as floating point anyway")]
impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Raw::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn place(source: &Arc<Source>, raw: Spanned<Raw>) -> Result<Node, RuleError> {
    let width = match raw.value {
        Raw::List(_) | Raw::Map(_) | Raw::Null => 1,
        _ => usize::try_from(raw.referenced.span().len()).unwrap_or(1),
    };
    let at = Place::new(source, raw.referenced, width);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(value) => Value::Number(value),
        Raw::Text(text) => Value::Text(text),
        Raw::List(nodes) => {
            Value::List(nodes.into_iter().map(|node| place(source, node)).collect::<Result<_, _>>()?)
        }
        Raw::Map(pairs) => Value::Map(map(source, pairs)?),
    };
    Ok(Node { place: at, value })
}

fn map(source: &Arc<Source>, pairs: Vec<(Spanned<Raw>, Spanned<Raw>)>) -> Result<Map, RuleError> {
    let mut map = Map::default();
    for (key, value) in pairs {
        let (key, at) = place(source, key)?.text("a key")?;
        if let Some(first) = map.entries.iter().find(|entry| entry.key == key) {
            let line = first.place.line;
            return Err(at.error(format!("`{key}` stands twice, first on line {line}: remove one of them")));
        }
        let node = place(source, value)?;
        map.entries.push(Entry { key, place: at, node });
    }
    Ok(map)
}
