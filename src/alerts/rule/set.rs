//! The rules in force: the built-in ones, with a file's own over them.

use std::sync::Arc;

use super::Rule;
use super::error::{RuleError, RuleErrors};
use super::read::{Reader, read_file};
use super::yaml::{Map, Source};
use crate::settings::ReminderSettings;

const BUILT_IN: &str = include_str!("../../../config/alerts.yaml");

/// The rules in force, in the order of their files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
}

/// What a file of rules came to.
#[derive(Debug)]
pub struct Loaded {
    /// The rules that can be used; where the file's version of a built-in rule is wrong, the built-in one.
    pub rules: RuleSet,
    /// What is wrong with the file.
    pub errors: Vec<RuleError>,
}

impl Loaded {
    /// The rules, if nothing is wrong: what a start wants. [`Self::rules`] are what can be used all the same.
    ///
    /// # Errors
    ///
    /// Every mistake in the file.
    pub fn into_result(self) -> Result<RuleSet, RuleErrors> {
        if self.errors.is_empty() { Ok(self.rules) } else { Err(RuleErrors(self.errors)) }
    }
}

impl RuleSet {
    /// The built-in rules alone.
    pub fn built_in() -> Self {
        Self::load(None).rules
    }

    /// The built-in rules with those of a file over them. `file` is its name, for errors, and its text.
    pub fn load(file: Option<(&str, &str)>) -> Loaded {
        Self::load_with(file, &ReminderSettings::default())
    }

    /// [`Self::load`] where rules that do not say how often they repeat do so as `reminders` say.
    pub fn load_with(file: Option<(&str, &str)>, reminders: &ReminderSettings) -> Loaded {
        let mut errors = Vec::new();
        let built_in = file_of("config/alerts.yaml (built in)", BUILT_IN, &mut errors);
        let user = file.map(|(name, text)| file_of(name, text, &mut errors)).unwrap_or_default();
        let mut reader = Reader::new([reminders.info, reminders.warning, reminders.critical]);
        reader.declare(built_in.metrics, &mut errors);
        reader.declare(user.metrics, &mut errors);

        let mut rules = Vec::new();
        let mut own = user.rules;
        for entry in built_in.rules.entries {
            let mut combined = entry.clone();
            if let Some(node) = own.take(&entry.key) {
                match node.map("a rule") {
                    Ok((changes, place)) => {
                        if let super::yaml::Value::Map(map) = &mut combined.node.value {
                            map.overlay(changes);
                        }
                        combined.place = place;
                    }
                    Err(error) => errors.push(error),
                }
            }
            match reader.rule(combined) {
                Ok(rule) => rules.extend(rule),
                Err(wrong) => {
                    errors.extend(wrong);
                    rules.extend(reader.rule(entry).ok().flatten());
                }
            }
        }
        for entry in own.entries {
            match reader.rule(entry) {
                Ok(rule) => rules.extend(rule),
                Err(wrong) => errors.extend(wrong),
            }
        }
        errors.sort_by_key(RuleError::line);
        Loaded { rules: Self { rules: rules.into_iter().map(Arc::new).collect() }, errors }
    }

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// The rule of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The rules that `keep` accepts: those of the groups that a process publishes.
    #[must_use]
    pub fn filter(mut self, keep: impl Fn(&Rule) -> bool) -> Self {
        self.rules.retain(|rule| keep(rule));
        self
    }
}

/// The two sections of a file.
#[derive(Default)]
pub(super) struct File {
    pub(super) metrics: Map,
    pub(super) rules: Map,
}

fn file_of(name: &str, text: &str, errors: &mut Vec<RuleError>) -> File {
    let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
    read_file(&source, errors)
}
