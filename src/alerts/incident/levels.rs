//! The levels of one series: each with a hysteresis and times of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Observation;
use crate::alerts::event::AlertSeverity;
use crate::alerts::rule::Rule;

/// By severity: info, warning, critical.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Levels([LevelState; 3]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct LevelState {
    is_active: bool,
    /// While inactive: since when the level has held. While active: since when it has been over.
    turning_since: Option<Duration>,
}

impl Levels {
    /// The highest active level.
    pub(super) fn severity(&self) -> Option<AlertSeverity> {
        AlertSeverity::ALL.into_iter().rev().find(|severity| self.0[*severity as usize].is_active)
    }

    /// Takes a finite value.
    pub(super) fn update(&mut self, rule: &Rule, value: f64, observation: &Observation, now: Duration) {
        let mut is_implied = false;
        for severity in AlertSeverity::ALL.into_iter().rev() {
            let (Some(level), state) = (rule.level(severity), &mut self.0[severity as usize]) else {
                continue;
            };
            let holds = rule.comparison.holds(value, level.level);
            if state.is_active {
                let is_over = level.recovers.map_or(!holds, |recovers| !rule.is_worse(value, recovers));
                state.turn(is_over, level.keep_firing, now);
            } else {
                let hold =
                    if observation.reported && rule.trust_reports { Duration::ZERO } else { level.hold };
                // A higher level that has just become active carries the lower ones along: their own `for` is not
                // to make the incident look over when the higher one is.
                let hold = if is_implied { Duration::ZERO } else { hold };
                state.turn(holds && !observation.excused, hold, now);
                is_implied |= state.is_active;
            }
        }
    }

    /// What was about to turn begins anew: nobody watched it meanwhile.
    pub(super) fn forget_pending(&mut self) {
        for state in &mut self.0 {
            state.turning_since = None;
        }
    }
}

impl LevelState {
    /// Becomes the other state once `turns` has held for `hold`.
    fn turn(&mut self, turns: bool, hold: Duration, now: Duration) {
        if !turns {
            self.turning_since = None;
        } else if now.saturating_sub(*self.turning_since.get_or_insert(now)) >= hold {
            *self = Self { is_active: !self.is_active, turning_since: None };
        }
    }
}
