//! `check`: what will be used, and where it comes from.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use trading_telemetry::alerts::event::AlertSeverity;
use trading_telemetry::settings::{AlertSettings, ChannelKind, Loaded, Origin, Pager, Route};

use crate::output::{Failure, Output, table, verdict};
use crate::sources::{SourceArgs, rules};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shows the settings that are at their defaults, too.
    #[arg(long)]
    all: bool,
    /// Warnings count as mistakes.
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(args: &Args, sources: &SourceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let loaded = sources.load()?;
    let alerts = &loaded.settings.alerts;
    let rules = rules(&alerts.rules_file)?;
    let from =
        if alerts.rules_file.exists() { alerts.rules_file.display().to_string() } else { "built in".into() };
    let is_well = !args.strict || loaded.warnings.is_empty();
    output.either(
        || json(args, &loaded, rules.iter().count(), &from),
        || text(args, &loaded, rules.iter().count(), &from),
    )?;
    Ok(verdict(is_well))
}

fn settings<'a>(args: &Args, loaded: &'a Loaded) -> Vec<&'a trading_telemetry::settings::Effective> {
    loaded.effective.iter().filter(|setting| args.all || setting.origin != Origin::Default).collect()
}

/// The severities that go to a channel.
fn severities(alerts: &AlertSettings, channel: ChannelKind) -> Vec<&'static str> {
    let route = |severity| -> &Route {
        match severity {
            AlertSeverity::Critical => &alerts.routes.critical,
            AlertSeverity::Warning => &alerts.routes.warning,
            AlertSeverity::Info => &alerts.routes.info,
        }
    };
    let all = AlertSeverity::ALL.into_iter().rev();
    all.filter(|severity| route(*severity).includes(channel)).map(AlertSeverity::as_str).collect()
}

fn pager(alerts: &AlertSettings) -> &'static str {
    match alerts.pager() {
        Pager::Engine => "engine",
        Pager::Alertmanager => "alertmanager",
    }
}

fn json(args: &Args, loaded: &Loaded, rules: usize, from: &str) -> Value {
    let alerts = &loaded.settings.alerts;
    let active = alerts.active_channels();
    json!({
        "service": loaded.service_name,
        "settings_file": loaded.file,
        "warnings": loaded.warnings,
        "rules": { "from": from, "number": rules },
        "pager": pager(alerts),
        "channels": ChannelKind::ALL.iter().map(|channel| json!({
            "channel": channel.as_str(),
            "active": active.contains(channel),
            "missing": alerts.missing_for(*channel),
            "severities": severities(alerts, *channel),
        })).collect::<Vec<_>>(),
        "settings": settings(args, loaded).iter().map(|setting| json!({
            "key": setting.key,
            "value": setting.value,
            "origin": setting.origin.to_string(),
        })).collect::<Vec<_>>(),
    })
}

fn text(args: &Args, loaded: &Loaded, rules: usize, from: &str) -> String {
    let alerts = &loaded.settings.alerts;
    let file = loaded.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let mut out = format!("service   {}\nsettings  {file}\nrules     {rules}, {from}\n", loaded.service_name);
    let _ = writeln!(out, "pager     {}", pager(alerts));
    let rows: Vec<Vec<String>> = settings(args, loaded)
        .iter()
        .map(|setting| vec![setting.key.clone(), setting.value.clone(), setting.origin.to_string()])
        .collect();
    if rows.is_empty() {
        out.push_str("\nEvery setting is at its default (--all shows them).\n");
    } else {
        let _ = write!(out, "\n{}", table(&["SETTING", "VALUE", "FROM"], &rows));
    }
    let active = alerts.active_channels();
    let channel = |channel: &ChannelKind| {
        let missing = alerts.missing_for(*channel);
        let (state, more) = if active.contains(channel) {
            ("on", severities(alerts, *channel).join(", "))
        } else if missing.is_empty() {
            ("off", "not in alerts.channels".to_owned())
        } else {
            ("off", format!("set {}", missing.join(" and ")))
        };
        vec![channel.as_str().to_owned(), state.to_owned(), more]
    };
    let rows: Vec<_> = ChannelKind::ALL.iter().map(channel).collect();
    let _ = write!(out, "\n{}", table(&["CHANNEL", "STATE", ""], &rows));
    for warning in &loaded.warnings {
        let _ = writeln!(out, "\nwarning: {warning}");
    }
    out
}
