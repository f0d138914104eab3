//! One redb file.
//!
//! What was measured decides the settings: `Durability::Immediate`, because with `None` nothing is left after SIGKILL;
//! commits in two phases, because after one phase a damaged file is taken for a commit that SIGKILL broke off, and goes back
//! to what was there before without a word; the integrity check at each opening, because without it a damaged file panics or gives wrong data; and no use of a
//! database after an I/O error, which it does not get over until it is opened again.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{
    Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError,
};

use super::contents::{Changes, Contents, Table};

/// Unsent messages are small and few; the rest of the default cache of a gigabyte would stay empty.
const CACHE: usize = 4 << 20;

type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

const fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another process has it open.
    Locked,
    /// It is no database, or a broken one.
    Damaged(String),
    /// The disk or its permissions are in the way.
    Unavailable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another process has it open"),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Unavailable(why) => f.write_str(why),
        }
    }
}

/// How a database is opened: a seam for tests, whose disks can be full.
pub(super) struct Opener(Box<Open>);

/// Opens the file at a path; creates it if told so.
type Open = dyn Fn(&Path, bool) -> Result<Database, DatabaseError> + Send;

impl Default for Opener {
    fn default() -> Self {
        Self(Box::new(|path, create| {
            let mut builder = Database::builder();
            builder.set_check_integrity_on_open(true).set_cache_size(CACHE);
            if create { builder.create(path) } else { builder.open(path) }
        }))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

impl Opener {
    #[cfg(test)]
    pub(super) fn new(
        open: impl Fn(&Path, bool) -> Result<Database, DatabaseError> + Send + 'static,
    ) -> Self {
        Self(Box::new(open))
    }

    /// Opens the file and reads all of it.
    pub(super) fn open(&self, path: &Path, create: bool) -> Result<(Store, Contents), Refusal> {
        guarded(|| {
            let database = (self.0)(path, create).map_err(|error| refusal(&error))?;
            let store = Store { database };
            let contents = store.read().map_err(|error| match error {
                redb::Error::Io(error) if !is_damage(&error) => Refusal::Unavailable(error.to_string()),
                error => Refusal::Damaged(error.to_string()),
            })?;
            Ok((store, contents))
        })
        .unwrap_or_else(|| Err(Refusal::Damaged("it could not be read to its end".into())))
    }
}

/// An open database.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

impl Store {
    fn read(&self) -> Result<Contents, redb::Error> {
        let mut contents = Contents::default();
        let transaction = self.database.begin_read()?;
        for table in Table::ALL {
            let records = match transaction.open_table(definition(table)) {
                Err(TableError::TableDoesNotExist(_)) => continue,
                records => records?,
            };
            for record in records.iter()? {
                let (key, value) = record?;
                contents.put(table, key.value(), value.value().to_vec());
            }
        }
        Ok(contents)
    }

    /// Makes `changes` durable, all or none.
    pub(super) fn commit(&self, changes: &Changes) -> Result<(), String> {
        self.write(|transaction| {
            for table in Table::ALL {
                let mut records = transaction.open_table(definition(table))?;
                for ((_, key), value) in changes.iter().filter(|((of, _), _)| *of == table) {
                    match value {
                        Some(value) => drop(records.insert(key.as_str(), value.as_slice())?),
                        None => drop(records.remove(key.as_str())?),
                    }
                }
            }
            Ok(())
        })
    }

    /// Makes `contents` all that is in the file.
    pub(super) fn replace(&self, contents: &Contents) -> Result<(), String> {
        self.write(|transaction| {
            for table in Table::ALL {
                let mut records = transaction.open_table(definition(table))?;
                records.retain(|_, _| false)?;
                for (key, value) in contents.of(table) {
                    records.insert(key, value)?;
                }
            }
            Ok(())
        })
    }

    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), String> {
        let commit = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            transaction.set_two_phase_commit(true);
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        guarded(commit)
            .unwrap_or_else(|| Err(StorageError::Corrupted("it could not be written".into()).into()))
            .map_err(|error| error.to_string())
    }

    /// Closes the file. What was committed is on disk either way.
    pub(super) fn close(self) {
        let _ = guarded(|| self.database.close());
    }
}

/// Runs `work`; `None` when the database panicked, which a damaged file must not spread to the service.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn refusal(error: &DatabaseError) -> Refusal {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Refusal::Locked,
        DatabaseError::Storage(StorageError::Io(error)) if !is_damage(error) => {
            Refusal::Unavailable(error.to_string())
        }
        error => Refusal::Damaged(error.to_string()),
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
