//! What only a second pair of eyes can see: that the first one is closed.

use std::borrow::Cow;
use std::time::Duration;

use super::yaml::duration;
use crate::alerts::event::AlertSeverity::{self, Critical, Warning};

/// A rule on what watches.
pub(super) struct Watch {
    pub(super) name: &'static str,
    pub(super) severity: AlertSeverity,
    pub(super) expression: &'static str,
    pub(super) hold: Duration,
    pub(super) keep_firing: Duration,
    pub(super) title: &'static str,
    pub(super) message: &'static str,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Within this time, which stands in its expression, an engine that is well evaluates its rules more than once.
const STUCK: (&str, Duration) = ("[3m]", seconds(180));

impl Watch {
    /// Its expression and its hold, where the engine evaluates its rules every `interval`. The hold spares a process that
    /// has only just begun: it shows its first evaluation until the second.
    pub(super) fn at(&self, interval: Duration) -> (Cow<'static, str>, Duration) {
        let (range, window) = STUCK;
        let slow = interval * 2;
        if slow <= window || !self.expression.contains(range) {
            return (self.expression.into(), self.hold);
        }
        (self.expression.replace(range, &format!("[{}]", duration(slow))).into(), self.hold.max(interval))
    }
}

pub(super) const WATCHES: &[Watch] = &[
    Watch {
        name: "process_down",
        severity: Critical,
        expression: "up{job=~\"alpha-oracle-.*\"} == 0",
        // Two scrapes: one that fails is no dead process.
        hold: seconds(30),
        keep_firing: seconds(60),
        title: "Process Down: {{ $labels.job }}",
        message: "{{ $labels.instance }} answers no scrape: its metrics, and the alerts that it would send, are missing",
    },
    Watch {
        name: "process_missing",
        severity: Critical,
        // Of one that is down the rule above tells.
        expression: "absent(trading_system_info)\nunless on () (up{job=~\"alpha-oracle-.*\"} == 0)",
        hold: seconds(60),
        keep_firing: seconds(60),
        title: "No Trading Process",
        message: "No process of the trading system is scraped at all",
    },
    Watch {
        name: "process_restarting",
        severity: Warning,
        expression: "changes(process_start_time_seconds{job=~\"alpha-oracle-.*\"}[15m]) > 2",
        hold: seconds(0),
        keep_firing: seconds(300),
        title: "Process Restarts: {{ $labels.job }}",
        message: "{{ $labels.instance }} started {{ $value }} times within 15 minutes",
    },
    Watch {
        name: "scrape_failing",
        severity: Warning,
        // An outage that process_down has told of is not told of again.
        expression: "avg_over_time(up{job=~\"alpha-oracle-.*\"}[10m]) < 0.9\nunless on (job, instance) last_over_time(ALERTS{alertname=\"process_down\",alertstate=\"firing\"}[10m])",
        hold: seconds(120),
        keep_firing: seconds(300),
        title: "Scrapes Fail: {{ $labels.job }}",
        message: "{{ $labels.instance }} answered only a part of the scrapes of 10 minutes ({{ $value }})",
    },
    Watch {
        name: "exporter_down",
        severity: Warning,
        expression: "up{job!~\"alpha-oracle-.*\"} == 0",
        hold: seconds(120),
        keep_firing: seconds(60),
        title: "Exporter Down: {{ $labels.job }}",
        message: "{{ $labels.instance }} answers no scrape: its panels stand still",
    },
    Watch {
        name: "engine_missing",
        severity: Critical,
        expression: "up{job=\"alpha-oracle-metrics\"} == 1 unless on (job, instance) trading_alert_evaluation_duration_seconds",
        hold: seconds(60),
        keep_firing: seconds(60),
        title: "Alert Engine Missing",
        message: "{{ $labels.instance }} runs without evaluating its alert rules: look for metrics_and_alerts_disabled in its log",
    },
    Watch {
        name: "engine_stuck",
        severity: Critical,
        // The duration of an evaluation is never twice the same for minutes.
        expression: "changes(trading_alert_evaluation_duration_seconds[3m]) == 0\nand count_over_time(trading_alert_evaluation_duration_seconds[3m]) > 3",
        hold: seconds(60),
        keep_firing: seconds(60),
        title: "Alert Engine Stuck",
        message: "{{ $labels.instance }} has not evaluated its alert rules for minutes: nobody would be told of anything",
    },
    Watch {
        name: "engine_blind",
        severity: Warning,
        expression: "count without (rule) (trading_alert_rule_state == -1)",
        hold: seconds(900),
        keep_firing: seconds(0),
        title: "Alert Rules Blind",
        message: "{{ $labels.instance }} has nothing to judge {{ $value }} of its alert rules by: their metrics are not recorded, stale or invalid; `trading-telemetry alerts` says which",
    },
    Watch {
        name: "engine_partly_blind",
        severity: Warning,
        expression: "increase(trading_telemetry_foreign_collect_failures_total[10m]) > 0",
        hold: seconds(0),
        keep_firing: seconds(300),
        title: "Alert Engine Partly Blind",
        message: "{{ $labels.instance }} cannot collect the service's own instruments: the rules on them are blind",
    },
    Watch {
        name: "engine_channel_down",
        severity: Critical,
        expression: "trading_alert_channel_up == 0",
        hold: seconds(300),
        keep_firing: seconds(60),
        title: "Alert Channel Down: {{ $labels.channel }}",
        message: "{{ $labels.instance }} has not reached {{ $labels.channel }} for 5 minutes",
    },
    Watch {
        name: "engine_unsent",
        severity: Critical,
        expression: "trading_alert_oldest_unsent_seconds > 300",
        hold: seconds(0),
        keep_firing: seconds(60),
        title: "Alerts Unsent: {{ $labels.channel }}",
        message: "An alert has waited {{ $value }} s for {{ $labels.channel }} at {{ $labels.instance }}",
    },
];
