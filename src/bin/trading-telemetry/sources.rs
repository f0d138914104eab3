//! Settings and rules, from where a service has them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use trading_telemetry::alerts::rule::{RuleSet, text_of};
use trading_telemetry::settings::{Loaded, Settings, Sources};

use crate::output::Failure;

/// Whose settings are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The settings file.
    #[arg(long, global = true, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The service whose settings are meant.
    #[arg(long, global = true, value_name = "NAME")]
    service: Option<String>,
}

impl SourceArgs {
    /// The settings in effect.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        let mut sources = Sources::from_process();
        if let Some(file) = &self.settings {
            sources = sources.file(file);
        }
        if let Some(service) = &self.service {
            sources = sources.service_name(service);
        }
        Settings::load(&sources).map_err(Failure::wrong)
    }
}

/// The rules of a file over the built-in ones; those alone where there is no file.
pub(crate) fn rules(file: &Path) -> Result<RuleSet, Failure> {
    let name = file.display().to_string();
    match std::fs::read(file) {
        Ok(bytes) => {
            let text = text_of(&name, bytes).map_err(Failure::wrong)?;
            RuleSet::load(Some((&name, &text))).into_result().map_err(Failure::wrong)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(RuleSet::built_in()),
        Err(error) => Err(Failure::wrong(format!("the alert rules cannot be read from {name}: {error}"))),
    }
}
