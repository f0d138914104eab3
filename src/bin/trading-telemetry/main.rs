//! `trading-telemetry`: what a person asks of the telemetry from a terminal.
//!
//! Ends with 0 when all is well, 1 when something is wrong, 2 when it was called wrongly, and 3 when a service cannot be
//! reached.

mod alerts;
mod channel;
mod check;
mod export;
mod output;
mod rules;
mod service;
mod silence;
mod simulate;
mod sources;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use output::{Failure, Output};
use sources::SourceArgs;

const EXIT_CODES: &str = "\
Exit codes: 0 all is well, 1 something is wrong, 2 called wrongly, 3 a service cannot be reached.

Settings come from config/settings.yaml (or the file in SA_SETTINGS_FILE) and the environment, as for a service.";

/// Checks, shows and exports the telemetry of a trading system.
#[derive(Debug, Parser)]
#[command(name = "trading-telemetry", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    sources: SourceArgs,
    /// Writes JSON in place of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks settings, rules and the channels' secrets: what will be used and where it comes from.
    Check(check::Args),
    /// Shows the alert rules in force.
    Rules,
    /// Sends a message marked [TEST] through a channel.
    TestChannel(channel::Args),
    /// Writes the alert rules for Prometheus and a configuration for Alertmanager.
    Export(export::Args),
    /// Mutes messages of a running service for a while.
    Silence(silence::Args),
    /// Shows the open incidents of a running service.
    Alerts(alerts::Args),
    /// Tells what would have been sent on past data.
    Simulate(simulate::Args),
    /// Writes the completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    match run(&arguments, &output) {
        Ok(code) => code,
        Err(failure) => failure.tell(),
    }
}

fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let sources = &arguments.sources;
    match &arguments.command {
        Command::Check(args) => check::run(args, sources, output),
        Command::Rules => rules::run(sources, output),
        Command::TestChannel(args) => channel::run(args, sources, output),
        Command::Export(args) => export::run(args, sources, output),
        Command::Silence(args) => silence::run(args, sources, output),
        Command::Alerts(args) => alerts::run(args, sources, output),
        Command::Simulate(args) => simulate::run(args, sources, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "trading-telemetry", &mut text);
            output::write(&String::from_utf8_lossy(&text))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
