//! Alertmanager, which groups, silences and tells people where more than one machine watches.
//!
//! An alert there lives only as long as somebody posts it again, and is identified by its labels. So the labels hold
//! what two replicas of a service agree on (rule, series, severity) and the annotations everything else: both post one
//! alert, and it pages once. The severity is the worst of the incident: were it lowered, people would get a resolved
//! message about an incident that is open.
//!
//! Every Alertmanager of a cluster is posted to, because they gossip what they have sent and not what they were sent.

mod alert;
mod standing;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use secrecy::SecretString;
use tokio::task::JoinSet;

use super::http::{Answer, Endpoint, HttpSettings};
use super::{Channel, ChannelError, Failure, Outcome, Sending};
use crate::alerts::delivery::Pace;
use crate::alerts::event::Event;
use crate::alerts::message::{Notice, Origin};
use crate::clock::Clock;
use crate::lock::lock;
use alert::Alert;
use standing::Standing;

/// How long the others may still take once one Alertmanager has accepted: what they miss is posted again.
const STRAGGLERS: Duration = Duration::from_secs(2);
/// How often what is due is looked for.
const TICK: Duration = Duration::from_secs(1);

/// A cluster of Alertmanagers, or a single one.
pub struct Alertmanager {
    members: Arc<[Member]>,
    resend: Duration,
    clock: Arc<dyn Clock>,
    standing: Mutex<Standing>,
}

struct Member {
    endpoint: Endpoint,
    /// Told once, until it works again.
    is_failing: AtomicBool,
    number: usize,
}

impl fmt::Debug for Alertmanager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alertmanager")
            .field("members", &self.members.len())
            .field("resend", &self.resend)
            .finish_non_exhaustive()
    }
}

impl Alertmanager {
    /// The name in settings, routes and metrics.
    pub const NAME: &'static str = "alertmanager";

    /// A channel to the Alertmanagers at `urls`, without their `/api/v2/alerts`. What is open is posted again every
    /// `resend`, which has to be less than their `resolve_timeout`. Makes no request.
    ///
    /// # Errors
    ///
    /// When there is no URL, one is not valid, or no TLS client can be built.
    pub fn new<'u>(
        urls: impl IntoIterator<Item = &'u str>,
        bearer_token: Option<&SecretString>,
        resend: Duration,
        http: &HttpSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ChannelError> {
        let member = |(number, url): (usize, &str)| {
            let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
            // Within a cluster plain http is usual, and the URL holds no secret.
            let endpoint = Endpoint::unencrypted_too(Self::NAME, url.into(), http)?;
            let endpoint = endpoint.with_bearer(bearer_token.cloned());
            Ok(Member { endpoint, is_failing: AtomicBool::new(false), number: number + 1 })
        };
        let members: Arc<[Member]> = urls.into_iter().enumerate().map(member).collect::<Result<_, _>>()?;
        if members.is_empty() {
            return Err(ChannelError::settings(Self::NAME, "it has no URL, set alerts.alertmanager.urls"));
        }
        Ok(Self { members, resend, clock, standing: Mutex::default() })
    }

    /// Locked for moments, never while something is posted.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        lock(&self.standing)
    }

    /// Posts `alerts` to every member. Accepted is what one of them has: a cluster tells people once.
    async fn post(&self, alerts: &[Alert]) -> Outcome {
        let body = alerts.iter().map(Alert::json).collect::<serde_json::Value>().to_string();
        let mut posts = JoinSet::new();
        for index in 0..self.members.len() {
            let (members, body) = (Arc::clone(&self.members), body.clone());
            posts.spawn(async move { members[index].post(body).await });
        }
        let mut best: Option<Outcome> = None;
        loop {
            let limit = if best == Some(Outcome::Accepted) { STRAGGLERS } else { Duration::MAX };
            let Ok(Some(joined)) = tokio::time::timeout(limit, posts.join_next()).await else { break };
            if let Ok(outcome) = joined
                && best.as_ref().is_none_or(|best| rank(&outcome) < rank(best))
            {
                best = Some(outcome);
            }
        }
        best.unwrap_or_else(|| Outcome::TryAgain(Failure::new("no answer")))
    }

    async fn tell(&self, notice: &Notice) -> Outcome {
        let now = self.clock.monotonic();
        let step = self.standing().step(notice, now);
        if step.posts.is_empty() {
            self.standing().commit(step);
            return Outcome::Accepted;
        }
        let outcome = self.post(&step.posts).await;
        if outcome == Outcome::Accepted {
            self.standing().commit(step);
        }
        outcome
    }

    /// Posts what is due: what is open, every so often, and ends that had to wait.
    async fn tend(&self) {
        let due = self.standing().due(self.clock.monotonic(), self.resend);
        if due.is_empty() {
            return;
        }
        if self.post(&due.alerts).await == Outcome::Accepted {
            self.standing().ended(&due);
        }
    }
}

impl Channel for Alertmanager {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn pace(&self) -> Pace {
        Pace::new(100, Duration::from_millis(20))
    }

    fn send<'a>(&'a self, notice: &'a Notice) -> Sending<'a> {
        Box::pin(self.tell(notice))
    }

    fn resume(self: Arc<Self>, open: Vec<Event>, origin: &Arc<Origin>) {
        let now = self.clock.monotonic();
        for event in open.into_iter().filter(|event| !event.silenced) {
            self.standing().take_up(&Notice::new(event, Arc::clone(origin)), now);
        }
        let (channel, tick) = (Arc::downgrade(&self), TICK.min(self.resend));
        tokio::spawn(async move {
            while let Some(channel) = Weak::upgrade(&channel) {
                channel.tend().await;
                drop(channel);
                tokio::time::sleep(tick).await;
            }
        });
    }
}

impl Member {
    async fn post(&self, body: String) -> Outcome {
        let outcome = match self.endpoint.post(body).await {
            Ok(answer) => classify(&answer),
            Err(failure) => Outcome::TryAgain(failure),
        };
        let failure = match &outcome {
            Outcome::TryAgain(failure)
            | Outcome::Unclear(failure)
            | Outcome::Reformat(failure)
            | Outcome::Dead(failure) => Some(failure),
            Outcome::Accepted | Outcome::SlowDown(_) | Outcome::Moved => None,
        };
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        if let (false, Some(reason)) = (was_failing, failure) {
            tracing::warn!(
                target: "trading_telemetry",
                member = self.number,
                %reason,
                hint = "the others of alerts.alertmanager.urls are posted to all the same",
                "alertmanager_member_failing"
            );
        } else if was_failing && failure.is_none() {
            tracing::info!(target: "trading_telemetry", member = self.number, "alertmanager_member_recovered");
        }
        outcome
    }
}

/// The better an outcome, the lower.
fn rank(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Accepted => 0,
        Outcome::TryAgain(_) | Outcome::Unclear(_) => 1,
        Outcome::SlowDown(_) => 2,
        Outcome::Reformat(_) => 3,
        Outcome::Dead(_) | Outcome::Moved => 4,
    }
}

fn classify(answer: &Answer) -> Outcome {
    let failure = |words| Failure::status(answer.status, words);
    match answer.status {
        200..300 if answer.body.trim_ascii().is_empty() => Outcome::Accepted,
        200..300 => Outcome::TryAgain(failure("not answered by Alertmanager")),
        429 => Outcome::SlowDown(answer.retry_after),
        408 | 500.. => Outcome::TryAgain(failure("")),
        400 | 413 | 422 => Outcome::Reformat(failure("")),
        401 | 403 => Outcome::Dead(failure("check alerts.alertmanager.bearer_token")),
        404 => Outcome::Dead(failure("check alerts.alertmanager.urls")),
        _ => Outcome::Dead(failure("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_class() {
        let outcome = |status, body: &str| {
            classify(&Answer { status, retry_after: Some(Duration::from_secs(7)), body: body.into() })
        };
        assert_eq!(outcome(200, ""), Outcome::Accepted);
        assert_eq!(outcome(429, ""), Outcome::SlowDown(Some(Duration::from_secs(7))));
        for (status, body) in [(200, "<html>"), (500, ""), (503, "no quorum"), (408, "")] {
            assert!(matches!(outcome(status, body), Outcome::TryAgain(_)), "{status} {body}");
        }
        for status in [400, 413, 422] {
            assert!(matches!(outcome(status, "bad"), Outcome::Reformat(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 410] {
            assert!(matches!(outcome(status, ""), Outcome::Dead(_)), "{status}");
        }
    }
}
