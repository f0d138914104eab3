//! `silence`: mutes messages of a running service for a while.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::alerts::word;
use crate::output::{Failure, Output, table};
use crate::service::{Service, ServiceArgs};
use crate::sources::SourceArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Mutes a rule, or series by their labels. The kill switch cannot be silenced.
    Add(Add),
    /// Shows the silences in force.
    List {
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Ends a silence that was added this way; those of the file end there.
    End {
        #[command(flatten)]
        service: ServiceArgs,
        /// Its id.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["rule", "label"]).multiple(true).required(true))]
#[command(group = ArgGroup::new("end").args(["lasts", "until"]).required(true))]
struct Add {
    #[command(flatten)]
    service: ServiceArgs,
    /// The rule to mute.
    #[arg(long)]
    rule: Option<String>,
    /// Series to mute, as in Prometheus: 'component="redis"'. All that are given must match.
    #[arg(long, value_name = "MATCHER")]
    label: Vec<String>,
    /// How long, such as 2h or "1h 30m".
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<SignedDuration>,
    /// Until when, such as 2026-03-15T18:00:00Z.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Why.
    #[arg(long)]
    comment: Option<String>,
    /// A name to end it by; one is made where none is given.
    #[arg(long)]
    id: Option<String>,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .filter(SignedDuration::is_positive)
        .ok_or_else(|| "write a time such as 30m, 2h or \"1h 30m\"".to_owned())
}

pub(crate) fn run(args: &Args, sources: &SourceArgs, output: &Output) -> Result<ExitCode, Failure> {
    match &args.action {
        Action::Add(add) => self::add(add, sources, output)?,
        Action::List { service } => {
            let service = Service::new(service, sources)?;
            let silences = service.get("/alerts/silences")?;
            if !silences["silences"].is_array() {
                return Err(service.is_another("/alerts/silences"));
            }
            output.either(|| silences.clone(), || text(&silences))?;
        }
        Action::End { service, id } => {
            let path = format!("/alerts/silences/{}", encoded(id));
            Service::new(service, sources)?.change(Method::DELETE, &path, None)?;
            output.either(|| json!({ "id": id, "ended": true }), || format!("ended {id}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn add(add: &Add, sources: &SourceArgs, output: &Output) -> Result<(), Failure> {
    let now = Timestamp::now();
    let until = match (add.until, add.lasts) {
        (Some(until), _) => until,
        (None, Some(lasts)) => {
            now.checked_add(lasts).map_err(|_| Failure::wrong("that is longer than time lasts"))?
        }
        (None, None) => return Err(Failure::wrong("say how long: --for 2h, or --until TIME")),
    };
    let id = add.id.clone().unwrap_or_else(|| {
        format!("{}-{}", add.rule.as_deref().unwrap_or("labels"), now.strftime("%Y%m%dT%H%M%S"))
    });
    let silence =
        json!({ "id": id, "rule": add.rule, "labels": add.label, "until": until, "comment": add.comment });
    Service::new(&add.service, sources)?.change(Method::POST, "/alerts/silences", Some(&silence))?;
    output.either(|| silence.clone(), || format!("{id}: muted until {until}\n"))
}

/// An id as a part of a path.
fn encoded(id: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    id.bytes().map(byte).collect()
}

fn text(silences: &Value) -> String {
    let list = silences["silences"].as_array().cloned().unwrap_or_default();
    if list.is_empty() {
        return "No silence is in force.\n".to_owned();
    }
    let row = |silence: &Value| {
        let labels: Vec<_> = silence["labels"].as_array().into_iter().flatten().map(word).collect();
        let [id, rule, until, comment] = ["id", "rule", "until", "comment"].map(|key| word(&silence[key]));
        vec![id, rule, labels.join(","), until, comment]
    };
    table(&["ID", "RULE", "LABELS", "UNTIL", "COMMENT"], &list.iter().map(row).collect::<Vec<_>>())
}
