//! One alert as Alertmanager's API takes it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::alerts::event::Event;
use crate::alerts::export::{EVALUATOR, KIND, MESSAGE, ORIGIN, label_name};
use crate::alerts::message::{Notice, details};

/// Labels of ours that a series' own must not replace.
const OWN: [&str; 7] = ["alertname", "severity", "service", "incident", ORIGIN, EVALUATOR, KIND];
/// What an annotation holds at most; nothing here is meant for reading on.
const LONGEST: usize = 4000;

/// One alert. It has no end while it lasts: Alertmanager gives it one by its own clock, so that a jump of ours resolves
/// nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts: Option<Timestamp>,
    ends: Option<Timestamp>,
}

impl Alert {
    /// The alert of an incident or of a message.
    pub(super) fn of(notice: &Notice) -> Self {
        let event = &notice.event;
        Self {
            labels: labels(notice),
            annotations: annotations(notice),
            // A time that Alertmanager refused is its own to say.
            starts: (!notice.plain).then_some(event.since),
            ends: None,
        }
    }

    /// The same, ended when `event` says.
    pub(super) fn ended_by(&self, event: &Event) -> Self {
        // From what has been measured: the wall clock may have jumped since it began.
        let lasted = SignedDuration::try_from(event.duration).unwrap_or_default();
        let end = event.since.saturating_add(lasted).unwrap_or(event.at);
        Self { starts: Some(event.since), ends: Some(end), ..self.clone() }
    }

    pub(super) fn json(&self) -> Value {
        let mut alert = json!({ "labels": self.labels, "annotations": self.annotations });
        for (key, time) in [("startsAt", self.starts), ("endsAt", self.ends)] {
            if let Some(time) = time {
                alert[key] = json!(time);
            }
        }
        alert
    }
}

/// What tells this alert from others, in any replica: neither the instance nor the incident's id.
fn labels(notice: &Notice) -> BTreeMap<String, String> {
    let event = &notice.event;
    let mut labels = BTreeMap::new();
    for (name, value) in &event.labels {
        let name = label_name(name);
        let name = if OWN.contains(&name.as_str()) { format!("exported_{name}") } else { name };
        labels.insert(name, value.clone());
    }
    let mut own = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
    own("alertname", event.rule.as_deref().unwrap_or(&event.title));
    own("severity", event.worst_severity.as_str());
    own("service", &notice.origin.service);
    own(ORIGIN, "engine");
    if !event.kind.is_of_incident() {
        own(KIND, MESSAGE);
        own("incident", &event.incident);
    }
    // An empty label is none, to Alertmanager an error in an alert's name.
    labels.retain(|_, value| !value.is_empty());
    labels.entry("alertname".to_owned()).or_insert_with(|| "alert".to_owned());
    labels
}

fn annotations(notice: &Notice) -> BTreeMap<&'static str, String> {
    let event = &notice.event;
    let mut annotations =
        BTreeMap::from([("title", event.title.clone()), ("message", event.message.clone())]);
    if !notice.plain {
        annotations.insert("details", details(notice));
        annotations.insert("runbook", event.runbook.clone().unwrap_or_default());
    }
    for text in annotations.values_mut() {
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
    }
    annotations.retain(|_, text| !text.is_empty());
    annotations
}
