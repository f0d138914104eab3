//! The deciding half at a test's pace: no thread, no outbox, no channel.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::config::Policy;
use super::handle::{Alerts, Command, Commands, Shared};
use super::silences::SilenceSources;
use super::{Core, owned_rules, rule_names};
use crate::alerts::event::Event;
use crate::clock::Clock;
use crate::metrics::Readings;

/// An engine that decides when it is asked to.
pub(crate) struct Offline {
    core: Core,
    shared: Arc<Shared>,
    commands: Commands,
    silences: SilenceSources,
}

impl Offline {
    /// With the handle that a service has of it.
    pub(crate) fn new(policy: &Policy, readings: Readings, clock: Arc<dyn Clock>) -> (Alerts, Self) {
        let (alerts, commands) = Alerts::new();
        let shared = Arc::clone(&alerts.shared);
        shared.view.observe(readings.metrics().registry());
        shared.view.begin(owned_rules(policy, readings.metrics()), std::iter::empty());
        let silences = SilenceSources::new(PathBuf::new(), rule_names(policy));
        // A handle that is new has none yet.
        let _ = shared.rules.set(rule_names(policy));
        let (core, _) = Core::new(policy, readings, clock, shared.view.clone(), Vec::new());
        (alerts, Self { core, shared, commands, silences })
    }

    /// One evaluation: of the direct alerts since the last, and of every rule.
    pub(crate) fn evaluate(&mut self) -> Vec<Event> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Silence(silence) => drop(self.silences.add(silence)),
                Command::EndSilence(id, reply) => drop(reply.send(self.silences.end(&id).is_some())),
                // There is no channel here.
                Command::Test(..) | Command::Slack(_) | Command::Telegram(..) | Command::Shutdown(..) => {}
            }
            self.core.evaluator.set_silences(self.silences.all());
        }
        let mut events = self.core.evaluate_latched(|| self.shared.inbox.take());
        let foreign = self.core.watches_foreign().then(|| self.core.readings.collect_foreign()).flatten();
        events.extend(self.core.evaluate(|| self.shared.inbox.take(), foreign.as_ref()));
        self.shared.subscribers.tell(&events);
        events
    }
}

impl fmt::Debug for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offline").finish_non_exhaustive()
    }
}
