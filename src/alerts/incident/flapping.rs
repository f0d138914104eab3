//! Too many changes in too short a time.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Limits;

/// The recent changes of one series, and whether they are too many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Flapping {
    /// At most one more than the limit.
    changes: VecDeque<Duration>,
    is_flapping: bool,
}

impl Flapping {
    pub(super) fn is_flapping(&self) -> bool {
        self.is_flapping
    }

    /// Takes note of a change; true if it is the one too many.
    pub(super) fn change(&mut self, limits: &Limits, now: Duration) -> bool {
        self.changes.retain(|at| now.saturating_sub(*at) < limits.flapping_window);
        if self.changes.len() > limits.flapping_changes {
            self.changes.pop_front();
        }
        self.changes.push_back(now);
        let begins = !self.is_flapping && self.changes.len() > limits.flapping_changes;
        self.is_flapping |= begins;
        begins
    }

    /// Whether it has just come to rest.
    pub(super) fn settles(&mut self, limits: &Limits, now: Duration) -> bool {
        let is_calm =
            self.changes.back().is_none_or(|last| now.saturating_sub(*last) >= limits.flapping_calm);
        if self.is_flapping && is_calm {
            *self = Self::default();
            return true;
        }
        false
    }

    /// Moves what is known to a timeline that is `shift` further on.
    pub(super) fn shift(&mut self, shift: Duration) {
        self.changes.iter_mut().for_each(|at| *at = at.saturating_add(shift));
    }

    /// Forgets what is too long ago to matter, so that a series at rest can be dropped.
    pub(super) fn forget(&mut self, limits: &Limits, now: Duration) {
        if self.changes.back().is_some_and(|last| now.saturating_sub(*last) >= limits.flapping_window) {
            self.changes.clear();
        }
    }
}
