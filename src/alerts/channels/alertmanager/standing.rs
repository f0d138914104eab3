//! What Alertmanager has been told and still believes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::alert::Alert;
use crate::alerts::event::{Event, EventKind};
use crate::alerts::message::Notice;

/// How long an alert stands at least. One that ends within Alertmanager's `group_wait` would never be told.
const LEAST: Duration = Duration::from_secs(15);

/// The alerts that stand, by incident.
#[derive(Debug, Default)]
pub(super) struct Standing {
    alerts: BTreeMap<String, Stands>,
    posted_at: Duration,
}

#[derive(Clone, Debug)]
struct Stands {
    alert: Alert,
    since: Duration,
    /// Its end, once there is one, and when that may be posted.
    end: Option<(Alert, Duration)>,
}

/// What a message comes to: what to post, and what then stands.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) posts: Vec<Alert>,
    incident: String,
    stands: Option<Stands>,
}

/// What is to be posted without a message.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) alerts: Vec<Alert>,
    ends: Vec<(String, Alert)>,
}

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }
}

impl Standing {
    /// What `notice` comes to. Changes nothing: it may not get through.
    pub(super) fn step(&self, notice: &Notice, now: Duration) -> Step {
        let event = &notice.event;
        let alert = Alert::of(notice);
        let incident = event.incident.clone();
        if !event.kind.is_of_incident() {
            return Step { posts: vec![alert], incident, stands: None };
        }
        let before = self.alerts.get(&incident);
        if event.kind == EventKind::Resolved {
            return resolve(before, alert, notice, incident, now);
        }
        let mut posts = vec![alert.clone()];
        // Its severity is another, so this is another alert to Alertmanager.
        posts.extend(before.filter(|before| before.alert.labels != alert.labels).map(|before| {
            let lasted = notice.event.duration;
            before.alert.ended_by(&Event { duration: lasted, ..event.clone() })
        }));
        let since = before.filter(|before| before.alert.labels == alert.labels).map_or(now, |old| old.since);
        Step { posts, incident, stands: Some(Stands { alert, since, end: None }) }
    }

    /// Remembers what has got through.
    pub(super) fn commit(&mut self, step: Step) {
        let Some(stands) = step.stands else {
            self.alerts.remove(&step.incident);
            return;
        };
        // What has begun again must not be ended by the end of what was before.
        self.alerts.retain(|_, before| before.end.is_none() || before.alert.labels != stands.alert.labels);
        self.alerts.insert(step.incident, stands);
    }

    /// Takes up an incident that an earlier process posted: it is posted again with the next that is due.
    pub(super) fn take_up(&mut self, notice: &Notice, now: Duration) {
        let stands = Stands { alert: Alert::of(notice), since: now, end: None };
        self.alerts.entry(notice.event.incident.clone()).or_insert(stands);
        self.posted_at = Duration::ZERO;
    }

    /// Ends whose time has come; and every `resend` everything that stands.
    pub(super) fn due(&mut self, now: Duration, resend: Duration) -> Due {
        let mut due = Due::default();
        for (incident, stands) in &mut self.alerts {
            if let Some((end, at)) = &mut stands.end
                && *at <= now
            {
                *at = now + resend;
                due.ends.push((incident.clone(), end.clone()));
                due.alerts.push(end.clone());
            }
        }
        if self.posted_at.is_zero() || now.saturating_sub(self.posted_at) >= resend {
            self.posted_at = now.max(Duration::from_nanos(1));
            let ending = |incident| due.ends.iter().any(|(ending, _)| ending == incident);
            let standing = self.alerts.iter().filter(|(incident, _)| !ending(*incident));
            let standing: Vec<_> = standing.map(|(_, stands)| stands.alert.clone()).collect();
            due.alerts.extend(standing);
        }
        due
    }

    /// Forgets what has ended.
    pub(super) fn ended(&mut self, due: &Due) {
        for (incident, end) in &due.ends {
            // It may have begun again while its end was posted.
            if self
                .alerts
                .get(incident)
                .is_some_and(|stands| stands.end.as_ref().is_some_and(|(e, _)| e == end))
            {
                self.alerts.remove(incident);
            }
        }
    }
}

fn resolve(before: Option<&Stands>, alert: Alert, notice: &Notice, incident: String, now: Duration) -> Step {
    let event = &notice.event;
    let (stands, begins) = match before {
        Some(before) => (before.clone(), false),
        // Nobody was told while it lasted: it begins and ends now.
        None if notice.story.begins_with_opening() => (Stands { alert, since: now, end: None }, true),
        None => return Step { posts: vec![alert.ended_by(event)], incident, stands: None },
    };
    let end = stands.alert.ended_by(event);
    let wait = stands.since.saturating_add(LEAST);
    if wait <= now {
        return Step { posts: vec![end], incident, stands: None };
    }
    let posts = if begins { vec![stands.alert.clone()] } else { Vec::new() };
    Step { posts, incident, stands: Some(Stands { end: Some((end, wait)), ..stands }) }
}
