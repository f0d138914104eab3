//! What a source says before anybody asked what it means: a tree of texts, each of which knows where it stands.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The text of a settings file.
pub(super) struct FileText {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Where a value or a key stands.
#[derive(Clone)]
pub(super) enum Place {
    /// Line and column count from 1; the length is in characters.
    File {
        file: Arc<FileText>,
        line: usize,
        column: usize,
        length: usize,
    },
    Variable(String),
    Builder(String),
}

impl Place {
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::File { file, line, .. } => Origin::File { path: file.path.clone(), line: *line },
            Self::Variable(name) => Origin::Variable(name.clone()),
            Self::Builder(_) => Origin::Builder,
        }
    }
}

/// Where an effective value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The settings file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment; for a `*_FILE` twin the variable that names the file.
    Variable(String),
    /// The service's own code.
    Builder,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Builder => f.write_str("builder"),
        }
    }
}

/// How a text was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A plain YAML scalar.
    Plain,
    /// A quoted or block YAML scalar: a string, whatever it looks like.
    Quoted,
    /// From the environment, the builder or a secret's file: commas separate the items of a list.
    Bare,
}

#[derive(Clone)]
pub(super) enum Raw {
    Null,
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<Pair>),
}

#[derive(Clone)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) raw: Raw,
    pub(super) place: Place,
}

impl Node {
    /// A text from outside any file.
    pub(super) fn bare(text: impl Into<String>, place: Place) -> Self {
        Self { raw: Raw::Scalar { text: text.into(), style: Style::Bare }, place }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.raw, Raw::Null)
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        match &self.raw {
            Raw::Map(pairs) => pairs,
            _ => &[],
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.pairs().iter().find(|pair| pair.key == key).map(|pair| &pair.node)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.raw {
            Raw::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Puts `node` under `path`, making the levels on the way.
    ///
    /// # Errors
    /// The node itself where the path leads through a text, or ends on something that is there already.
    pub(super) fn insert(&mut self, path: &[&str], node: Self) -> Result<(), Self> {
        let Some((first, rest)) = path.split_first() else { return Err(node) };
        let Raw::Map(pairs) = &mut self.raw else { return Err(node) };
        let at = pairs.iter().position(|pair| pair.key == *first);
        match (at, rest) {
            (Some(_), []) => Err(node),
            (Some(at), rest) => pairs[at].node.insert(rest, node),
            (None, rest) => {
                let place = node.place.clone();
                let node = if rest.is_empty() {
                    node
                } else {
                    let mut level = Self { raw: Raw::Map(Vec::new()), place: place.clone() };
                    level.insert(rest, node)?;
                    level
                };
                pairs.push(Pair { key: (*first).to_owned(), key_place: place, node });
                Ok(())
            }
        }
    }
}
