//! `export`: the alert rules for Prometheus, and a configuration for Alertmanager.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secrecy::ExposeSecret as _;
use serde_json::json;
use trading_telemetry::alerts::export::{Secrets, alertmanager, prometheus_rules, promtool_tests};
use trading_telemetry::settings::ChannelKind;

use crate::output::{Failure, Output, verdict};
use crate::sources::{SourceArgs, rules};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write: rules/trading-telemetry.yml, alertmanager.yml, and where there are vectors rules/tests.yml.
    #[arg(long, value_name = "FOLDER", default_value = "config")]
    directory: PathBuf,
    /// Vectors of the rules, for promtool's unit tests.
    #[arg(long, value_name = "FOLDER", default_value = "tests/vectors")]
    vectors: PathBuf,
    /// Writes nothing, and ends with 1 where a file is not what would be written.
    #[arg(long, conflicts_with = "fill_secrets")]
    check: bool,
    /// Writes alertmanager.local.yml besides, with the secrets of the environment in it, for its owner's eyes only.
    #[arg(long)]
    fill_secrets: bool,
}

struct File {
    path: PathBuf,
    text: String,
    is_secret: bool,
}

pub(crate) fn run(args: &Args, sources: &SourceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let files = files(args, sources)?;
    let stale: Vec<&File> = files
        .iter()
        .filter(|file| fs::read_to_string(&file.path).ok().as_ref() != Some(&file.text))
        .collect();
    let shown: Vec<String> = stale.iter().map(|file| file.path.display().to_string()).collect();
    if args.check {
        let text = || match shown.as_slice() {
            [] => "every file is up to date\n".to_owned(),
            stale => format!("stale: {}\nwrite them with `trading-telemetry export`\n", stale.join(", ")),
        };
        output.either(|| json!({ "stale": shown }), text)?;
        return Ok(verdict(stale.is_empty()));
    }
    for file in
        files.iter().filter(|file| file.is_secret).chain(stale.into_iter().filter(|file| !file.is_secret))
    {
        write(file).map_err(|error| {
            Failure::wrong(format!("cannot write {}: {error}; name another --directory", file.path.display()))
        })?;
    }
    output.either(
        || json!({ "written": shown }),
        || {
            if shown.is_empty() {
                "every file was up to date\n".into()
            } else {
                format!("written: {}\n", shown.join(", "))
            }
        },
    )?;
    Ok(ExitCode::SUCCESS)
}

fn files(args: &Args, sources: &SourceArgs) -> Result<Vec<File>, Failure> {
    let settings = sources.load()?.settings;
    let rules = rules(&settings.alerts.rules_file)?;
    let file = |name: &str, text, is_secret| File { path: args.directory.join(name), text, is_secret };
    let mut files = vec![
        file("rules/trading-telemetry.yml", prometheus_rules(&rules, &settings), false),
        file("alertmanager.yml", alertmanager(&rules, &settings.alerts, Secrets::Files), false),
    ];
    let vectors = vectors(&args.vectors)?;
    if !vectors.is_empty() {
        let vectors = vectors.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        files.push(file("rules/tests.yml", promtool_tests(&rules, vectors).map_err(Failure::wrong)?, false));
    }
    if args.fill_secrets {
        let people = [ChannelKind::Slack, ChannelKind::Telegram];
        if people.iter().all(|channel| !settings.alerts.missing_for(*channel).is_empty()) {
            return Err(Failure::wrong(
                "there is no secret to fill in: set SLACK_WEBHOOK_URL, or TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID",
            ));
        }
        let chat = settings.alerts.telegram.chat_id.as_ref().map(|chat| chat.expose_secret().trim());
        if chat.is_some_and(|chat| chat.parse::<i64>().is_err()) {
            return Err(Failure::wrong(
                "Alertmanager knows a Telegram chat by its number alone, not by a name: set TELEGRAM_CHAT_ID to that",
            ));
        }
        files.push(file(
            "alertmanager.local.yml",
            alertmanager(&rules, &settings.alerts, Secrets::FilledIn),
            true,
        ));
    }
    Ok(files)
}

/// The vectors, by name; none where there is no such folder.
fn vectors(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let wrong = |error: std::io::Error| Failure::wrong(format!("cannot read {}: {error}", folder.display()));
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut vectors = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            vectors.push((path.display().to_string(), fs::read_to_string(&path).map_err(wrong)?));
        }
    }
    vectors.sort();
    Ok(vectors)
}

/// Puts the whole file in place, or nothing.
fn write(file: &File) -> std::io::Result<()> {
    let folder = file.path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = file.path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = folder.join(name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if file.is_secret {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let written = options.open(&beside).and_then(|mut out| {
        out.write_all(file.text.as_bytes())?;
        out.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&beside, &file.path));
    if placed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    placed
}
