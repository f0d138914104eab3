//! Lays one source after the other over the settings, and notes what was wrong and where each value came from.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Kind, Problem};
use super::leaf::{Leaf, Mismatch};
use super::node::{Node, Pair, Place, Raw};
use super::tree::{Key, Named, Section, Visitor};
use crate::hint::{fold, nearest};

/// What reading found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    /// Where each value that is not a default stands, by key path.
    pub(super) origins: BTreeMap<String, Place>,
}

/// How much a source may demand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// What is wrong stops the start.
    Strict,
    /// What is wrong is a warning, and ignored: what OpenTelemetry demands for its variables.
    Lenient,
}

/// One walk over the settings with one source.
pub(super) struct Reader<'a> {
    node: &'a Node,
    path: Vec<String>,
    /// The levels above `path` in the source: `services.<name>`.
    above: &'a [&'a str],
    known: Vec<String>,
    folder: &'a Path,
    manner: Manner,
    findings: &'a mut Findings,
}

impl<'a> Reader<'a> {
    /// Lays `node` over `section`. Paths of secrets' files are relative to `folder`.
    pub(super) fn apply(
        section: &mut dyn Section,
        node: &'a Node,
        above: &'a [&'a str],
        folder: &'a Path,
        manner: Manner,
        findings: &'a mut Findings,
    ) {
        let mut reader = Self { node, path: Vec::new(), above, known: Vec::new(), folder, manner, findings };
        section.fields(&mut reader);
        // At the top other keys are somebody else's; under `services.<name>` everything is ours.
        if !above.is_empty() {
            reader.refuse_unknown();
        }
    }

    fn key_path(&self, name: &str) -> String {
        self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }

    /// How the key is written where `place` is.
    fn written(&self, place: &Place, name: &str) -> String {
        let levels = self.above.iter().copied().chain(self.path.iter().map(String::as_str)).chain([name]);
        match place {
            Place::Variable(_) => {
                format!("SA_{}", levels.map(fold).collect::<Vec<_>>().join("__").to_uppercase())
            }
            Place::Builder(_) => levels.collect::<Vec<_>>().join("."),
            Place::File { .. } => name.to_owned(),
        }
    }

    fn problem(&mut self, problem: Problem) {
        match self.manner {
            Manner::Strict => self.findings.problems.push(problem),
            Manner::Lenient => {
                self.findings.warnings.push(format!("{}; the variable is ignored", problem.headline()));
            }
        }
    }

    fn refuse_value(&mut self, key: &Key, instead: &str, secret: bool, mismatch: &Mismatch) {
        let written = self.written(&mismatch.place, key.name);
        let help = match (&mismatch.place, instead) {
            _ if secret => "write the secret alone, in one line, or take the setting away".to_owned(),
            (_, "null" | "{}" | "[]") => String::new(),
            (Place::Variable(given), value) => {
                // What is named by OpenTelemetry is written under that name, which wins; a list has no brackets there.
                let name = if given.starts_with("SA_") { written } else { given.clone() };
                let value = value.trim_matches(['[', ']']).replace('"', "").replace(", ", ",");
                format!("write for example {name}={value}")
            }
            (_, value) => format!("write for example `{written}: {value}`"),
        };
        let shown = mismatch.shown && !secret;
        self.problem(Problem::new(
            Kind::WrongValue,
            Some(&mismatch.place),
            shown,
            format_args!("`{}`: {}", self.key_path(key.name), mismatch.message),
            &help,
        ));
    }

    fn refuse_unknown(&mut self) {
        let unknown = self.node.pairs().iter().filter(|pair| !self.known.contains(&pair.key));
        let problems: Vec<Problem> = unknown.map(|pair| self.unknown(pair)).collect();
        for problem in problems {
            self.problem(problem);
        }
    }

    fn unknown(&self, pair: &Pair) -> Problem {
        let level: Vec<&str> =
            self.above.iter().copied().chain(self.path.iter().map(String::as_str)).collect();
        let help = match nearest(&pair.key, self.known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{}`?", self.written(&pair.key_place, near)),
            None => format!("known keys here: {}", self.known.join(", ")),
        };
        Problem::new(
            Kind::UnknownKey,
            Some(&pair.key_place),
            false,
            format_args!("unknown key `{}` in `{}`", pair.key.escape_debug(), level.join(".")),
            &help,
        )
    }

    /// Goes down to `node`, lets `visit` look at it, and comes back.
    fn enter(&mut self, name: &str, node: &'a Node, section: &mut dyn Section) {
        match &node.raw {
            Raw::Null => {}
            Raw::Map(_) => {
                let node = std::mem::replace(&mut self.node, node);
                let known = std::mem::take(&mut self.known);
                self.path.push(name.to_owned());
                section.fields(self);
                self.refuse_unknown();
                self.path.pop();
                self.known = known;
                self.node = node;
            }
            Raw::Scalar { .. } | Raw::List(_) => self.refuse_level(name, node),
        }
    }

    fn refuse_level(&mut self, name: &str, node: &Node) {
        let path = self.key_path(name);
        let help = match node.place {
            Place::Variable(_) => {
                format!("name the key after two underscores: {}__<KEY>", self.written(&node.place, name))
            }
            _ => format!("write the keys of `{name}` below it, indented"),
        };
        self.problem(Problem::new(
            Kind::WrongValue,
            Some(&node.place),
            false,
            format_args!("`{path}` holds keys, not a value"),
            &help,
        ));
    }

    /// The text of the file that a `…_file` key names.
    fn secret_file(&mut self, twin: &Node) -> Option<Node> {
        let Some(path) = twin.text().filter(|path| !path.trim().is_empty()) else {
            self.problem(Problem::new(
                Kind::WrongValue,
                Some(&twin.place),
                false,
                "expected the path of a file that holds the secret",
                "",
            ));
            return None;
        };
        let path = self.folder.join(path);
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(Node::bare(text.trim_end_matches(['\n', '\r']), twin.place.clone())),
            Err(error) => {
                self.problem(Problem::new(
                    Kind::UnreadableFile,
                    Some(&twin.place),
                    true,
                    format_args!("can't read the secret's file {}: {error}", path.display()),
                    "create the file, make it readable for this user, or take the setting away",
                ));
                None
            }
        }
    }

    fn refuse_both(&mut self, name: &str, value: &Node, twin: &Node) {
        let of = |place: &Place, name: &str| match place {
            Place::Variable(variable) => variable.clone(),
            _ => name.to_owned(),
        };
        let (value, file) = (of(&value.place, name), of(&twin.place, &format!("{name}_file")));
        self.problem(Problem::new(
            Kind::WrongValue,
            Some(&twin.place),
            false,
            format_args!("both {value} and {file} are set"),
            "take one of the two away",
        ));
    }
}

impl Visitor for Reader<'_> {
    fn leaf(&mut self, key: &Key, leaf: &mut dyn Leaf) {
        self.known.push(key.name.to_owned());
        let secret = leaf.is_secret();
        let twin_name = format!("{}_file", key.name);
        let source = self.node;
        let twin = source.get(&twin_name).filter(|twin| secret && !twin.is_null());
        if secret {
            self.known.push(twin_name);
        }
        let value = source.get(key.name).filter(|value| !(value.is_null() && twin.is_some()));
        let from_file;
        let node = match (value, twin) {
            (None, None) => return,
            (Some(value), None) => value,
            (Some(value), Some(twin)) => return self.refuse_both(key.name, value, twin),
            (None, Some(twin)) => match self.secret_file(twin) {
                Some(node) => {
                    from_file = node;
                    &from_file
                }
                None => return,
            },
        };
        let before = leaf.show();
        match leaf.set(node, key.range) {
            Ok(()) => {
                self.findings.origins.insert(self.key_path(key.name), node.place.clone());
            }
            Err(mismatch) => self.refuse_value(key, &before, secret, &mismatch),
        }
    }

    fn section(&mut self, key: &Key, section: &mut dyn Section) {
        self.known.push(key.name.to_owned());
        if let Some(node) = self.node.get(key.name) {
            self.enter(key.name, node, section);
        }
    }

    fn named(&mut self, key: &Key, sections: &mut dyn Named) {
        self.known.push(key.name.to_owned());
        let Some(node) = self.node.get(key.name) else { return };
        if !matches!(node.raw, Raw::Map(_) | Raw::Null) {
            return self.refuse_level(key.name, node);
        }
        self.path.push(key.name.to_owned());
        for pair in node.pairs() {
            // A variable cannot spell `market-feed`: it finds the name that the file gave.
            let name = sections.names().into_iter().find(|name| fold(name) == fold(&pair.key));
            let name = name.unwrap_or_else(|| pair.key.clone());
            if pair.node.is_null() {
                sections.forget(&name);
            } else {
                self.enter(&name, &pair.node, sections.named(&name));
            }
        }
        self.path.pop();
    }
}
