//! The silences in force: those of the file, read again when it changes, and those of API calls.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::alerts::silence::{Silence, Silences};

/// Where silences come from.
#[derive(Debug)]
pub(super) struct SilenceSources {
    file: PathBuf,
    modified: Option<SystemTime>,
    of_file: Silences,
    of_calls: Silences,
}

impl SilenceSources {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, modified: None, of_file: Silences::default(), of_calls: Silences::default() }
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
        let read = std::fs::read_to_string(&self.file).map_err(|error| error.to_string());
        match read.and_then(|text| Silences::parse(&name, &text).map_err(|errors| errors.to_string())) {
            Ok(silences) => {
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

    pub(super) fn add(&mut self, silence: Silence) {
        self.of_calls.add(silence);
    }

    pub(super) fn end(&mut self, id: &str) -> bool {
        self.of_calls.end(id)
    }

    /// Both, as one.
    pub(super) fn in_force(&self) -> Silences {
        let mut all = self.of_file.clone();
        for silence in self.of_calls.iter() {
            all.add(silence.clone());
        }
        all
    }
}
