//! Records in memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Messages that a channel has not accepted, by channel and id.
    Unsent,
    /// States of open incidents, by incident.
    Incidents,
    /// Until when a channel wants to be left alone, by channel.
    NotBefore,
    /// Windows of duplicates, by alert.
    Windows,
    /// Direct alerts that wait for their incidents to open, by an id.
    Waiting,
    /// Silences that calls made, by their id.
    Silences,
    /// Open incidents of delivery itself, by what they are about.
    Own,
    /// Open incidents that a channel was told of, by channel and incident.
    Told,
}

impl Table {
    pub(super) const ALL: [Self; 8] = [
        Self::Unsent,
        Self::Incidents,
        Self::NotBefore,
        Self::Windows,
        Self::Waiting,
        Self::Silences,
        Self::Own,
        Self::Told,
    ];

    /// The name of the table in the file.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Incidents => "incidents",
            Self::NotBefore => "not_before",
            Self::Windows => "windows",
            Self::Waiting => "waiting",
            Self::Silences => "silences",
            Self::Own => "own",
            Self::Told => "told",
        }
    }
}

/// New values by key; `None` removes.
pub(super) type Changes = HashMap<(Table, String), Option<Vec<u8>>>;

/// Records by table and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    records: BTreeMap<(Table, String), Vec<u8>>,
}

impl Contents {
    /// The records of one table, by key.
    pub fn of(&self, table: Table) -> impl Iterator<Item = (&str, &[u8])> {
        let records = self.records.range((table, String::new())..);
        records
            .take_while(move |((of, _), _)| *of == table)
            .map(|((_, key), value)| (key.as_str(), value.as_slice()))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn put(&mut self, table: Table, key: &str, value: Vec<u8>) {
        self.records.insert((table, key.to_owned()), value);
    }

    /// Whether there was one.
    pub(super) fn remove(&mut self, table: Table, key: &str) -> bool {
        self.records.remove(&(table, key.to_owned())).is_some()
    }

    /// Adds the records of `other` whose keys are not here, and returns them as changes.
    pub(super) fn adopt(&mut self, other: Self) -> Changes {
        let mut changes = Changes::new();
        for (key, value) in other.records {
            if let Entry::Vacant(place) = self.records.entry(key) {
                changes.insert(place.key().clone(), Some(value.clone()));
                place.insert(value);
            }
        }
        changes
    }
}
