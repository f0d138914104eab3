//! The log: one line per event, `alert`, with the metadata as fields of their own.
//!
//! The names of `tracing`'s fields are fixed at compile time; those of metadata are not. So a callsite is made for each
//! set of names when it is first seen, kept for good, and their number is bounded.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, OnceLock};

use tracing::callsite::{Callsite, Identifier};
use tracing::field::{FieldSet, Value};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};

use crate::alerts::event::{AlertSeverity, Event, MetadataValue, Reason};
use crate::lock::lock;
use crate::logs::ALERT_TARGET;

/// How many sets of names are kept; a service that invents names all the time gets its metadata as one field.
const MOST_CALLSITES: usize = 256;
const MOST_NAMES: usize = 48;

/// Names that the line itself uses; metadata of such a name gets a `_`. The first is what `tracing` calls the event.
const FIXED: [&str; 19] = [
    "message",
    "severity",
    "title",
    "message",
    "incident",
    "kind",
    "rule",
    "value",
    "worst",
    "threshold",
    "unit",
    "reason",
    "since",
    "count",
    "silenced",
    "order_id",
    "order_trace_id",
    "runbook",
    "metadata",
];

/// The channel that always works: it writes into the service's own log, at error, warning or info, past every filter.
#[derive(Debug, Default)]
pub struct LogChannel {
    callsites: Mutex<HashMap<(Level, Vec<String>), &'static Site>>,
}

impl LogChannel {
    /// The name in settings, routes and metrics.
    pub const NAME: &'static str = "log";

    /// Writes the line of `event`. Does no I/O of its own.
    pub fn write(&self, event: &Event) {
        // What a silence mutes is recorded, but must not wake those who watch the log for errors.
        let level = match event.severity {
            _ if event.silenced => Level::INFO,
            AlertSeverity::Critical => Level::ERROR,
            AlertSeverity::Warning => Level::WARN,
            AlertSeverity::Info => Level::INFO,
        };
        let labels = event.labels.iter().map(|(name, value)| (name, MetadataValue::Text(value.clone())));
        let extra: Vec<(&String, MetadataValue)> =
            event.metadata.iter().map(|(name, value)| (name, value.clone())).chain(labels).collect();
        if let Some(site) = self.site(level, extra.iter().map(|(name, _)| name.as_str())) {
            site.dispatch(event, &extra, None);
        } else if let Some(site) = self.site(level, std::iter::empty()) {
            let all: Vec<String> = extra.iter().map(|(name, value)| format!("{name}={value}")).collect();
            site.dispatch(event, &[], Some(&all.join(" ")));
        }
    }

    /// The callsite for these names; `None` when there are too many.
    fn site<'a>(&self, level: Level, names: impl Iterator<Item = &'a str>) -> Option<&'static Site> {
        let names: Vec<String> = names.map(str::to_owned).collect();
        let mut callsites = lock(&self.callsites);
        if let Some(site) = callsites.get(&(level, names.clone())) {
            return Some(site);
        }
        let crowded = callsites.len() >= MOST_CALLSITES || names.len() > MOST_NAMES;
        if crowded && !names.is_empty() {
            return None;
        }
        let site = Site::leak(level, &names);
        callsites.insert((level, names), site);
        Some(site)
    }
}

/// A callsite whose fields are known at run time only. Lives for ever, as `tracing` demands.
struct Site {
    metadata: OnceLock<Metadata<'static>>,
}

impl Site {
    fn leak(level: Level, names: &[String]) -> &'static Self {
        let site: &'static Self = Box::leak(Box::new(Self { metadata: OnceLock::new() }));
        let extra = names.iter().map(|name| {
            let name = if FIXED.contains(&name.as_str()) { format!("{name}_") } else { name.clone() };
            &*Box::leak(name.into_boxed_str())
        });
        let all: Vec<&'static str> = FIXED.into_iter().chain(extra).collect();
        let fields = FieldSet::new(Box::leak(all.into_boxed_slice()), Identifier(site));
        let _ = site.metadata.set(Metadata::new(
            "alert",
            ALERT_TARGET,
            level,
            None,
            None,
            None,
            fields,
            Kind::EVENT,
        ));
        tracing_core::callsite::register(site);
        site
    }

    fn dispatch(&'static self, event: &Event, extra: &[(&String, MetadataValue)], folded: Option<&str>) {
        let Some(metadata) = self.metadata.get() else { return };
        let is_incident = event.kind.is_of_incident();
        let since = is_incident.then(|| event.since.to_string());
        let threshold = event.threshold.map(|threshold| threshold.to_string());
        let count = (event.count > 1).then_some(event.count);
        let silenced = event.silenced.then_some(true);
        let kind = is_incident.then(|| event.kind.as_str());
        let reason = event.reason.map(Reason::as_str);
        let unit = Some(event.unit.as_str()).filter(|unit| !unit.is_empty());
        let fixed: [&dyn Value; FIXED.len()] = [
            &"alert",
            &event.severity.as_str(),
            &event.title,
            &event.message,
            &event.incident,
            &kind,
            &event.rule,
            &event.value,
            &event.worst,
            &threshold,
            &unit,
            &reason,
            &since,
            &count,
            &silenced,
            &event.order_id,
            &event.trace_id,
            &event.runbook,
            &folded,
        ];
        let extra = extra.iter().map(|(_, value)| match value {
            MetadataValue::Bool(value) => value as &dyn Value,
            MetadataValue::Int(value) => value,
            MetadataValue::Float(value) => value,
            MetadataValue::Text(value) => value,
        });
        let values: Vec<Option<&dyn Value>> = fixed.into_iter().chain(extra).map(Some).collect();
        let fields = metadata.fields().value_set_all(&values);
        tracing::dispatcher::get_default(|subscriber| {
            if subscriber.enabled(metadata) {
                subscriber.event(&tracing::Event::new(metadata, &fields));
            }
        });
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site")
    }
}

impl Callsite for Site {
    // Filters may change at any time, and an alert is rare: each line asks anew.
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        static NONE: OnceLock<Metadata<'static>> = OnceLock::new();
        self.metadata.get().unwrap_or_else(|| NONE.get_or_init(unregistered))
    }
}

/// What a callsite says before it is set up, which is before anybody can ask.
fn unregistered() -> Metadata<'static> {
    static SITE: Site = Site { metadata: OnceLock::new() };
    Metadata::new(
        "alert",
        ALERT_TARGET,
        Level::ERROR,
        None,
        None,
        None,
        FieldSet::new(&[], Identifier(&SITE)),
        Kind::EVENT,
    )
}
