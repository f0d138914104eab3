//! The settings as text: the reference file with every key, and the list of effective values.

use std::collections::BTreeMap;
use std::fmt;

use super::Settings;
use super::leaf::Leaf;
use super::node::{Origin, Place};
use super::tree::{Key, Named, Section, Visitor};

const HEAD: &str = "\
# Every setting of trading-telemetry, with its default: this file changes nothing, and each line may be left out.
#
# This is the whole trading system's file: sections that are not listed here are somebody else's.
# Any key can be set by a variable: SA_, then the levels with two underscores between them, as in
# SA_MONITORING__PROMETHEUS_PORT=8002; items of a list are separated by commas. A variable wins over this file.
# Secrets have a twin that names a file (bearer_token_file), and are better kept out of this one.
";

const SERVICES: &str = "
# Any key above, for one of several services that share this file:
# services:
#   risk:
#     monitoring: {prometheus_port: 8012}
#     metrics: {groups: [risk]}
";

/// The reference file.
pub(super) fn reference() -> String {
    let mut text = Reference { out: HEAD.to_owned(), indent: 0, example_at: None };
    Settings::default().fields(&mut text);
    text.out.push_str(SERVICES);
    text.out
}

struct Reference {
    out: String,
    indent: usize,
    /// The level at which an example began: what is below it is commented out.
    example_at: Option<usize>,
}

impl Reference {
    fn line(&mut self, text: &str) {
        match self.example_at {
            None => self.out.push_str(&"  ".repeat(self.indent)),
            Some(at) => {
                self.out.push_str(&"  ".repeat(at));
                self.out.push_str("# ");
                self.out.push_str(&"  ".repeat(self.indent - at));
            }
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn docs(&mut self, key: &Key) {
        for line in key.docs {
            let comment = format!("#{line}");
            self.line(comment.trim_end());
        }
    }
}

impl Visitor for Reference {
    fn leaf(&mut self, key: &Key, leaf: &mut dyn Leaf) {
        self.docs(key);
        self.line(&format!("{}: {}", key.name, leaf.show()));
    }

    fn section(&mut self, key: &Key, section: &mut dyn Section) {
        if self.indent == 0 {
            self.out.push('\n');
        }
        self.docs(key);
        self.line(&format!("{}:", key.name));
        self.indent += 1;
        section.fields(self);
        self.indent -= 1;
    }

    fn named(&mut self, key: &Key, sections: &mut dyn Named) {
        self.docs(key);
        self.line(&format!("{}: {{}}", key.name));
        self.example_at = Some(self.indent);
        self.line(&format!("{}:", key.name));
        self.indent += 1;
        self.line("<name>:");
        self.indent += 1;
        sections.example().fields(self);
        self.indent -= 2;
        self.example_at = None;
    }
}

/// One setting as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Path of the key, such as `monitoring.prometheus_port`.
    pub key: String,
    /// The value in YAML; `"[REDACTED]"` in place of a secret.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}  # {}", self.key, self.value, self.origin)
    }
}

/// Every setting with its value and origin.
pub(super) fn effective(settings: &mut Settings, origins: &BTreeMap<String, Place>) -> Vec<Effective> {
    let mut list = List { out: Vec::new(), path: Vec::new(), origins };
    settings.fields(&mut list);
    list.out
}

struct List<'a> {
    out: Vec<Effective>,
    path: Vec<String>,
    origins: &'a BTreeMap<String, Place>,
}

impl Visitor for List<'_> {
    fn leaf(&mut self, key: &Key, leaf: &mut dyn Leaf) {
        let path = self.path.iter().map(String::as_str).chain([key.name]).collect::<Vec<_>>().join(".");
        let origin = self.origins.get(&path).map_or(Origin::Default, Place::origin);
        self.out.push(Effective { key: path, value: leaf.show(), origin });
    }

    fn section(&mut self, key: &Key, section: &mut dyn Section) {
        self.path.push(key.name.to_owned());
        section.fields(self);
        self.path.pop();
    }

    fn named(&mut self, key: &Key, sections: &mut dyn Named) {
        self.path.push(key.name.to_owned());
        for name in sections.names() {
            self.path.push(name.clone());
            sections.named(&name).fields(self);
            self.path.pop();
        }
        self.path.pop();
    }
}

/// The names of the sections.
pub(super) fn section_names() -> Vec<&'static str> {
    let mut names = Names(Vec::new());
    Settings::default().fields(&mut names);
    names.0
}

struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn leaf(&mut self, key: &Key, _: &mut dyn Leaf) {
        self.0.push(key.name);
    }

    fn section(&mut self, key: &Key, _: &mut dyn Section) {
        self.0.push(key.name);
    }

    fn named(&mut self, key: &Key, _: &mut dyn Named) {
        self.0.push(key.name);
    }
}
