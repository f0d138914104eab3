//! Where settings are read from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that settings are read from, as values: nothing is read from the process behind one's back, so tests
/// run in parallel.
#[derive(Clone, Default)]
pub struct Sources {
    pub(super) variables: BTreeMap<String, String>,
    /// Names of variables that are set to something that is not text.
    pub(super) not_text: Vec<String>,
    pub(super) folder: PathBuf,
    pub(super) file: Option<PathBuf>,
    pub(super) service_name: Option<String>,
    pub(super) program: Option<String>,
    pub(super) overrides: Vec<(String, String)>,
}

impl Sources {
    /// No variables, and no file unless there is a `config/settings.yaml` in the working directory.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The environment, program name and working directory of this process.
    pub fn from_process() -> Self {
        let mut sources = Self::empty();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().map(str::to_owned) else { continue };
            match value.into_string() {
                Ok(value) => drop(sources.variables.insert(name, value)),
                Err(_) => sources.not_text.push(name),
            }
        }
        let program = std::env::args_os().next().map(PathBuf::from);
        sources.program =
            program.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
        sources
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// With `folder` in place of the working directory: relative paths of the settings file and of secrets' files
    /// start there.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    /// With this settings file, which must exist, whatever `SA_SETTINGS_FILE` says.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// With this service name, whatever the settings say.
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// With the program's name, which is the service's name where nobody gives one.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.program = Some(name.into());
        self
    }

    /// With a setting that wins over every other source: `set("monitoring.prometheus_port", "8011")`. The value is
    /// written as in the environment.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.overrides.push((key.into(), value.into()));
        self
    }
}

/// Without the values: some are secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("folder", &self.folder)
            .field("file", &self.file)
            .field("service_name", &self.service_name)
            .finish_non_exhaustive()
    }
}
