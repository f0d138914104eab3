//! The alert rules for a second pair of eyes: a rule file for Prometheus, unit tests for `promtool`, and a configuration
//! for Alertmanager.
//!
//! | label | value | whose alert it is |
//! |---|---|---|
//! | `origin` | `engine` | a rule of the engine's: told by the engine, or posted by its channel `alertmanager` |
//! | `origin` | `prometheus` | what only Prometheus can see: the process is down, the engine is stuck |
//! | `evaluator` | `prometheus` | a rule of the engine's as Prometheus evaluates it: on dashboards, never told |
//! | `kind` | `message` | a direct alert, which nothing resolves |

mod alertmanager;
mod promql;
mod rules;
mod vectors;
mod watch;
mod yaml;

use crate::exposition;

pub use alertmanager::{Secrets, alertmanager};
pub use rules::prometheus_rules;
pub use vectors::{VectorError, promtool_tests};

/// Whose alert it is: `engine` or `prometheus`.
pub(super) const ORIGIN: &str = "origin";
/// Who evaluated it, where that is not the engine.
pub(super) const EVALUATOR: &str = "evaluator";
/// What kind of alert it is, where that is not an incident.
pub(super) const KIND: &str = "kind";
/// The kind of a direct alert.
pub(super) const MESSAGE: &str = "message";

/// A label's name as Prometheus and Alertmanager take it.
pub(super) fn label_name(name: &str) -> String {
    exposition::sanitize_label(name, false)
}
