//! Events, a clock that follows tokio's, and a channel that does as it is told.

#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses its own part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use trading_telemetry::alerts::channels::{Channel, Outcome, Sending};
use trading_telemetry::alerts::delivery::Pace;
use trading_telemetry::alerts::event::{AlertSeverity, Event, EventKind};
use trading_telemetry::alerts::message::{Notice, slack_payload};
use trading_telemetry::clock::Clock;

#[allow(unused_imports, reason = "not every test has information")]
pub use AlertSeverity::{Critical, Info, Warning};

/// A direct alert.
pub fn direct(severity: AlertSeverity, title: &str) -> Event {
    let incident = format!("direct-{title}");
    Event { title: title.into(), ..Event::new(incident, EventKind::Direct, severity, Timestamp::now()) }
}

/// A state of an incident.
pub fn state(incident: &str, kind: EventKind, severity: AlertSeverity, time: &str) -> Event {
    let mut event = direct(severity, "Drawdown");
    event.incident = incident.into();
    event.rule = Some("drawdown".into());
    event.kind = kind;
    event.at = format!("2024-03-15T{time}Z").parse().unwrap();
    event.since = "2024-03-15T10:01:02Z".parse().unwrap();
    event.worst = Some(8.4);
    event.unit = "%".into();
    event
}

/// A clock that follows tokio's, which a test may pause, and whose time of day may jump.
#[derive(Debug)]
pub struct TokioClock {
    origin: Instant,
    wall: Mutex<Timestamp>,
}

impl TokioClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), wall: Mutex::new(Timestamp::now()) })
    }

    pub fn jump(&self, hours: i64) {
        let mut wall = self.wall.lock().unwrap();
        *wall += jiff::SignedDuration::from_hours(hours);
    }
}

impl Clock for TokioClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall(&self) -> Timestamp {
        *self.wall.lock().unwrap() + self.origin.elapsed()
    }
}

/// What a [`Scripted`] channel was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: Instant,
    pub notice: Notice,
    pub outcome: Outcome,
}

impl Sent {
    pub fn title(&self) -> &str {
        &self.notice.event.title
    }

    pub fn text(&self) -> String {
        slack_payload(&self.notice)
    }
}

/// A channel without a network.
#[derive(Debug)]
pub struct Scripted {
    name: &'static str,
    pace: Pace,
    script: Mutex<VecDeque<Outcome>>,
    otherwise: Mutex<Outcome>,
    /// What it always refuses, and how.
    refused: Mutex<Option<(String, Outcome)>>,
    takes: Mutex<Duration>,
    sent: Mutex<Vec<Sent>>,
}

impl Scripted {
    pub fn new(name: &'static str) -> Arc<Self> {
        Self::with_pace(name, Pace::new(1000, Duration::from_millis(1)))
    }

    pub fn with_pace(name: &'static str, pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            name,
            pace,
            script: Mutex::default(),
            otherwise: Mutex::new(Outcome::Accepted),
            refused: Mutex::default(),
            takes: Mutex::default(),
            sent: Mutex::default(),
        })
    }

    pub fn script(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.script.lock().unwrap().extend(outcomes);
    }

    pub fn always(&self, outcome: Outcome) {
        *self.otherwise.lock().unwrap() = outcome;
    }

    /// What it does with every message of this title, whatever the script says of others.
    pub fn refuse(&self, title: &str, outcome: Outcome) {
        *self.refused.lock().unwrap() = Some((title.to_owned(), outcome));
    }

    /// How long each send takes.
    pub fn take(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    pub fn accepted(&self) -> Vec<Sent> {
        self.sent().into_iter().filter(|sent| sent.outcome == Outcome::Accepted).collect()
    }

    pub fn titles(&self) -> Vec<String> {
        self.accepted().iter().map(|sent| sent.title().to_owned()).collect()
    }
}

impl Channel for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn pace(&self) -> Pace {
        self.pace.clone()
    }

    fn send<'a>(&'a self, notice: &'a Notice) -> Sending<'a> {
        Box::pin(async move {
            let at = Instant::now();
            let time = *self.takes.lock().unwrap();
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            let refused = self.refused.lock().unwrap().clone();
            let refused = refused.filter(|(title, _)| *title == notice.event.title);
            let outcome = match refused {
                Some((_, outcome)) => Some(outcome),
                None => self.script.lock().unwrap().pop_front(),
            };
            let outcome = outcome.unwrap_or_else(|| self.otherwise.lock().unwrap().clone());
            self.sent.lock().unwrap().push(Sent { at, notice: notice.clone(), outcome: outcome.clone() });
            outcome
        })
    }
}
