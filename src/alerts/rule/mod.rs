//! Rules as data: what is watched, when it is bad, and what to say then.
//!
//! The built-in rules are `config/alerts.yaml`, compiled in. A service's own file of the same form adds rules and
//! changes the built-in ones key by key, by name.

mod error;
mod keys;
mod matcher;
mod quantity;
mod read;
mod sampling;
mod secret;
mod set;
mod template;
pub(crate) mod yaml;

use std::time::Duration;

pub use error::{RuleError, RuleErrors};
pub(crate) use keys::no_more_keys;
pub use matcher::Matcher;
pub(crate) use matcher::all_match;
pub(crate) use quantity::with as with_unit;
pub use sampling::Sampling;
pub use set::{Loaded, RuleSet};
pub(crate) use template::Fill;
pub use template::Template;

use super::event::{AlertSeverity, Comparison};

/// The text of a file of rules or silences, from its bytes.
///
/// # Errors
///
/// The place of the first character that is not UTF-8.
pub fn text_of(file: &str, bytes: Vec<u8>) -> Result<String, RuleErrors> {
    Ok(yaml::Source::from_utf8(file, bytes).map_err(|error| RuleErrors(vec![error]))?.text)
}

/// The name of the rule that nothing mutes and nothing switches off.
pub const KILL_SWITCH: &str = "kill_switch";

/// After how long an open incident is told again, by severity: info, warning, critical.
pub type Reminders = [Option<Duration>; 3];

/// A rule: one metric, up to three levels, one incident for each of its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name, unique in the set.
    pub name: String,
    /// The metric's name on the scrape.
    pub metric: String,
    /// Which of its series.
    pub matchers: Vec<Matcher>,
    /// What of it is compared.
    pub sampling: Sampling,
    /// The unit of the levels, for people; empty where there is none.
    pub unit: String,
    /// How a value is compared with a level.
    pub comparison: Comparison,
    /// The levels, by severity: info, warning, critical. At least one.
    pub levels: [Option<Level>; 3],
    /// Whether a change that its owner reported itself counts at once: `for` is then for polled values alone.
    pub trust_reports: bool,
    /// What a series means that vanished, or that nobody has recorded for long.
    pub missing: Missing,
    /// After how long an open incident is told again, by severity: info, warning, critical.
    pub repeat: Reminders,
    /// The channels, by severity; `None` leaves it to the routes in the settings.
    pub channels: [Option<Vec<String>>; 3],
    /// The title of each message.
    pub title: Template,
    /// The text of each message.
    pub message: Template,
    /// The text of the end, where that of the other messages holds no more by then.
    pub resolved: Option<Template>,
    /// Where to read what to do.
    pub runbook: Option<String>,
}

/// A level of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// The bound, in the rule's unit.
    pub level: f64,
    /// The value at which it is over, inclusive; `None`: as soon as the level holds no more.
    pub recovers: Option<f64>,
    /// How long the level must hold before it counts.
    pub hold: Duration,
    /// How long it must be over before that counts.
    pub keep_firing: Duration,
    /// A title of its own.
    pub title: Option<Template>,
    /// A text of its own.
    pub message: Option<Template>,
}

/// What a missing series means.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// What to do.
    pub policy: MissingPolicy,
    /// After how long.
    pub after: Patience,
    /// Whether it matters only where `health.hours` is set, and within those hours; else the state is kept.
    pub only_in_hours: bool,
    /// The severity of an alert about it.
    pub severity: AlertSeverity,
}

/// What to do about a series that vanished or that nobody records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingPolicy {
    /// Leave everything as it was.
    Keep,
    /// Open the incident, or say it in the open one.
    Alert,
    /// End the incident, without a claim that it recovered.
    Resolve,
}

/// How long to wait for data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A fixed time.
    For(Duration),
    /// So many of the intervals at which the series is checked.
    Intervals(u32),
}

impl Patience {
    /// The time, given the interval at which the series is checked.
    pub fn duration(self, interval: Duration) -> Duration {
        match self {
            Self::For(duration) => duration,
            Self::Intervals(count) => interval.saturating_mul(count),
        }
    }
}

impl Rule {
    /// The level of a severity.
    pub fn level(&self, severity: AlertSeverity) -> Option<&Level> {
        self.levels[severity as usize].as_ref()
    }

    /// The interval of the reminders at a severity.
    pub fn repeat(&self, severity: AlertSeverity) -> Option<Duration> {
        self.repeat[severity as usize]
    }

    /// Whether `a` is worse than `b`.
    pub fn is_worse(&self, a: f64, b: f64) -> bool {
        if self.comparison.is_upward() { a > b } else { a < b }
    }

    /// Whether a silence may mute it, and a file switch it off.
    pub fn can_be_silenced(&self) -> bool {
        self.name != KILL_SWITCH
    }

    /// The title of a message at `severity`.
    pub fn title(&self, severity: AlertSeverity) -> &Template {
        self.level(severity).and_then(|level| level.title.as_ref()).unwrap_or(&self.title)
    }

    /// The text of a message at `severity`.
    pub fn message(&self, severity: AlertSeverity) -> &Template {
        self.level(severity).and_then(|level| level.message.as_ref()).unwrap_or(&self.message)
    }

    /// Whether a direct alert of that title means this rule's condition.
    pub(crate) fn has_title(&self, title: &str) -> bool {
        let own = self.levels.iter().flatten().filter_map(|level| level.title.as_ref());
        own.chain([&self.title]).any(|template| template.literal() == Some(title))
    }
}
