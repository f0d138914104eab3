//! `alerts`: the open incidents of a running service.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use crate::output::{Failure, Output, table};
use crate::service::{Service, ServiceArgs};
use crate::sources::SourceArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// Shows what was told lately, too.
    #[arg(long)]
    recent: bool,
}

pub(crate) fn run(args: &Args, sources: &SourceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let service = Service::new(&args.service, sources)?;
    let alerts = service.get("/alerts")?;
    if !alerts["open"].is_array() {
        return Err(service.is_another("/alerts"));
    }
    output.either(|| alerts.clone(), || text(&alerts, args.recent))?;
    Ok(ExitCode::SUCCESS)
}

/// A value as a person reads it.
pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(alerts: &Value, recent: bool) -> String {
    let incident = |open: &Value| {
        let labels: Vec<String> =
            list(&open["labels"]).map(|label| format!("{}={}", word(&label[0]), word(&label[1]))).collect();
        let mut state: Vec<String> = [("muted", "muted"), ("blind", "blind")]
            .into_iter()
            .filter(|(key, _)| open[*key] == Value::Bool(true))
            .map(|(_, word)| word.to_owned())
            .collect();
        state.extend(open["reason"].as_str().map(str::to_owned));
        vec![
            open["severity"].as_str().unwrap_or("flapping").to_uppercase(),
            word(&open["rule"]),
            labels.join(","),
            word(&open["value"]),
            word(&open["worst"]),
            word(&open["since"]),
            lasted(open["duration_seconds"].as_f64().unwrap_or_default()),
            state.join(", "),
            word(&open["incident"]),
        ]
    };
    let rows: Vec<_> = list(&alerts["open"]).map(incident).collect();
    let mut out = if rows.is_empty() {
        "No incident is open.\n".to_owned()
    } else {
        let heads = ["SEVERITY", "RULE", "LABELS", "VALUE", "WORST", "SINCE", "LASTED", "STATE", "INCIDENT"];
        table(&heads, &rows)
    };
    let blind: Vec<_> =
        list(&alerts["rules"]).filter(|rule| rule["state"] == -1).map(|rule| word(&rule["rule"])).collect();
    if !blind.is_empty() {
        let _ = writeln!(out, "\nBlind, because nothing is recorded: {}", blind.join(", "));
    }
    for channel in list(&alerts["channels"]).filter(|channel| channel["up"] == false) {
        let _ = writeln!(
            out,
            "\nChannel {} is not delivering, {} messages wait",
            word(&channel["channel"]),
            word(&channel["queued"])
        );
    }
    if recent {
        let event = |event: &Value| {
            ["at", "kind", "severity", "rule", "title", "message"].map(|key| word(&event[key])).to_vec()
        };
        let rows: Vec<_> = list(&alerts["recent"]).map(event).collect();
        let _ = write!(out, "\n{}", table(&["AT", "KIND", "SEVERITY", "RULE", "TITLE", "MESSAGE"], &rows));
    }
    out
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of an incident")]
fn lasted(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
