//! `test-channel`: one message, and what became of it.

use std::process::ExitCode;

use serde_json::json;
use trading_telemetry::alerts::test_channel;
use trading_telemetry::settings::ChannelKind;

use crate::output::{Failure, Output};
use crate::service::runtime;
use crate::sources::SourceArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The channel: log, slack, telegram or alertmanager.
    name: String,
}

pub(crate) fn run(args: &Args, sources: &SourceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let loaded = sources.load()?;
    let settings = &loaded.settings;
    let name = args.name.as_str();
    let Some(kind) = ChannelKind::ALL.iter().find(|kind| kind.as_str() == name) else {
        let known: Vec<_> = ChannelKind::ALL.iter().map(|kind| kind.as_str()).collect();
        return Err(Failure::wrong(format!(
            "there is no channel `{name}`: write one of {}",
            known.join(", ")
        )));
    };
    if *kind == ChannelKind::Log {
        let file = settings.logging.file_path(&loaded.service_name);
        let file = file.display().to_string();
        let text = || format!("log needs no test: its lines stand in {file}, as event \"alert\"\n");
        output.either(|| json!({ "channel": name, "delivered": true, "file": file }), text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let missing = settings.alerts.missing_for(*kind);
    if !missing.is_empty() {
        return Err(Failure::wrong(format!("{name} is not configured: set {}", missing.join(" and "))));
    }
    let result = runtime()?.block_on(test_channel(settings, &loaded.service_name, name));
    match result {
        Ok(()) => {
            let text = || format!("{name} has taken a message marked [TEST]\n");
            output.either(|| json!({ "channel": name, "delivered": true }), text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.is_unreachable() => Err(Failure::unreachable(error)),
        Err(error) => Err(Failure::wrong(error)),
    }
}
