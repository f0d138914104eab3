//! The silences: those of the file, read again when it changes, and those of calls, which outlive the process.

use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alerts::delivery::Record;
use crate::alerts::outbox::{Contents, Table};
use crate::alerts::rule::{RuleError, text_of};
use crate::alerts::silence::{Silence, Silences};

/// Where silences come from.
#[derive(Debug)]
pub(super) struct SilenceSources {
    file: PathBuf,
    /// The names of all rules, also of those that another process evaluates: one file may be everybody's.
    rules: Vec<String>,
    modified: Option<SystemTime>,
    of_file: Silences,
    of_calls: Silences,
}

/// A silence of a call as it is stored; its key is its id.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    rule: Option<String>,
    labels: Vec<String>,
    until: Timestamp,
    comment: Option<String>,
}

impl SilenceSources {
    pub(super) fn new(file: PathBuf, rules: Vec<String>) -> Self {
        let (of_file, of_calls) = (Silences::default(), Silences::default());
        Self { file, rules, modified: None, of_file, of_calls }
    }

    /// Takes up the silences that calls made in earlier processes.
    pub(super) fn restore(&mut self, contents: &Contents) {
        for (id, bytes) in contents.of(Table::Silences) {
            if let Some(silence) = restored(id, bytes) {
                self.of_calls.add(silence);
            } else {
                tracing::error!(
                    target: "trading_telemetry",
                    silence = id,
                    hint = "it mutes nothing any more; add it again",
                    "alert_silence_not_read"
                );
            }
        }
    }

    /// Reads the file if it has changed. `true` says that the silences are others now. A file with a mistake changes
    /// nothing.
    pub(super) fn reread(&mut self) -> bool {
        let modified = std::fs::metadata(&self.file).and_then(|metadata| metadata.modified()).ok();
        if modified == self.modified {
            return false;
        }
        self.modified = modified;
        if modified.is_none() {
            self.of_file = Silences::default();
            return true;
        }
        let name = self.file.display().to_string();
        let read = std::fs::read(&self.file).map_err(|error| error.to_string());
        let parse = |bytes| text_of(&name, bytes).and_then(|text| Silences::parse(&name, &text));
        match read.and_then(|bytes| parse(bytes).map_err(|errors| errors.to_string())) {
            Ok(silences) => {
                silences
                    .iter()
                    .filter_map(|silence| silence.check_rule(&self.rules).err())
                    .for_each(|e| warn(&e));
                self.of_file = silences;
                true
            }
            Err(error) => {
                tracing::error!(
                    target: "trading_telemetry",
                    error,
                    hint = "the silences that were in force before stay in force",
                    "alert_silences_not_read"
                );
                false
            }
        }
    }

    /// Adds a silence of a call; the record with which it survives the process.
    pub(super) fn add(&mut self, silence: Silence) -> Record {
        let stored = Stored {
            rule: silence.rule.clone(),
            labels: silence.matchers.iter().map(ToString::to_string).collect(),
            until: silence.until,
            comment: silence.comment.clone(),
        };
        let record = record(&silence.id, serde_json::to_vec(&stored).ok());
        self.of_calls.add(silence);
        record
    }

    /// Ends a silence of a call; `None` where there is none of that id.
    pub(super) fn end(&mut self, id: &str) -> Option<Record> {
        self.of_calls.end(id).then(|| record(id, None))
    }

    /// Forgets the silences of calls that are long over.
    pub(super) fn expire(&mut self, wall: Timestamp) -> Vec<Record> {
        self.of_calls.expire(wall).iter().map(|silence| record(&silence.id, None)).collect()
    }

    /// Those of both sources, as one.
    pub(super) fn all(&self) -> Silences {
        let mut all = self.of_file.clone();
        for silence in self.of_calls.iter() {
            all.add(silence.clone());
        }
        all
    }
}

fn record(id: &str, value: Option<Vec<u8>>) -> Record {
    Record { table: Table::Silences, key: id.to_owned(), value }
}

fn restored(id: &str, bytes: &[u8]) -> Option<Silence> {
    let Stored { rule, labels, until, comment } = serde_json::from_slice(bytes).ok()?;
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    Silence::new(id, rule.as_deref(), &labels, until, comment.as_deref()).ok()
}

/// The others of the file are in force all the same: this one may be meant for a service with rules of its own.
fn warn(error: &RuleError) {
    tracing::warn!(target: "trading_telemetry", error = error.message(), "alert_silence_of_unknown_rule");
}
