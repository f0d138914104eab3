//! The table of every built-in instrument.
//!
//! Views, bound handles, exposition order, start-up zeros, the README's table, the check of the alert rules and of the
//! dashboards are all derived from [`CATALOG`]: to add an instrument, add a row.

use super::labels::{OrderStatus, OrderType, RiskResult, Side};
use Group::{Alerts, Execution, Health, Ml, Orders, Portfolio, Process, Risk, System, Telemetry};
use Kind::{Counter, Gauge, Histogram, Info};

/// What an instrument measures into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A constant 1 whose labels are the information (OpenMetrics `info`; a gauge in text 0.0.4).
    Info,
    /// A sum that never goes down.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A distribution over these upper bounds (`+Inf` is implied).
    Histogram(&'static [f64]),
}

/// The part of the trading system that an instrument belongs to; `metrics.groups` chooses among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// Version, environment, broker. Always published.
    System,
    /// Orders, trades and their P&L: the execution engine.
    Orders,
    /// Equity, cash, positions, daily P&L, drawdown: the portfolio monitor.
    Portfolio,
    /// Risk checks, day trades, breakers, kill switch: the risk manager.
    Risk,
    /// Fill latency and slippage: the execution engine.
    Execution,
    /// Accuracy, drift, feature importance, confidence: the signal pipeline.
    Ml,
    /// Connections and their checks.
    Health,
    /// What the alert engine shows of itself. Always published.
    Alerts,
    /// What this library shows of itself. Always published.
    Telemetry,
    /// `process_*`. Always published.
    Process,
}

impl Group {
    /// Every group, in the order of the scrape.
    pub const ALL: &'static [Self] = &[
        Self::System,
        Self::Orders,
        Self::Portfolio,
        Self::Risk,
        Self::Execution,
        Self::Ml,
        Self::Health,
        Self::Alerts,
        Self::Telemetry,
        Self::Process,
    ];

    /// The name in `metrics.groups`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Orders => "orders",
            Self::Portfolio => "portfolio",
            Self::Risk => "risk",
            Self::Execution => "execution",
            Self::Ml => "ml",
            Self::Health => "health",
            Self::Alerts => "alerts",
            Self::Telemetry => "telemetry",
            Self::Process => "process",
        }
    }

    /// Whether `metrics.groups` may leave it out: what belongs to one owner among several processes.
    pub const fn is_optional(self) -> bool {
        !matches!(self, Self::System | Self::Alerts | Self::Telemetry | Self::Process)
    }
}

/// The values that a label may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Exactly these; every combination is on the scrape from the start, at 0 for a counter.
    Closed(&'static [&'static str]),
    /// Free text, bounded by a cap.
    Free,
}

/// A label of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The label's name on the scrape.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// One row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Instrument {
    /// The family's name on a text 0.0.4 scrape, to the byte.
    pub name: &'static str,
    /// What it measures into.
    pub kind: Kind,
    /// The part of the system that it belongs to.
    pub group: Group,
    /// Its label set, in the order of the table.
    pub labels: &'static [Label],
    /// The `# HELP` text, to the byte.
    pub help: &'static str,
}

impl Instrument {
    /// The instrument's name in OpenTelemetry: without `_total`, and with no unit beside it, so that an exporter
    /// that appends suffixes arrives at [`Self::name`].
    pub fn otel_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            _ => self.name,
        }
    }

    /// The family's name in OpenMetrics, which keeps `_total` and `_info` on the samples alone.
    pub fn openmetrics_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Info => self.name.strip_suffix("_info").unwrap_or(self.name),
            _ => self.name,
        }
    }

    /// The number of the row.
    pub(crate) fn ordinal(&self) -> usize {
        CATALOG.iter().position(|row| row.name == self.name).unwrap_or(CATALOG.len())
    }

    /// Whether the histogram's `_sum` is on the scrape. OpenMetrics forbids it where observations may be negative,
    /// and `rate()` of a falling sum is wrong.
    pub fn has_sum(&self) -> bool {
        match self.kind {
            Kind::Histogram(bounds) => bounds.first().is_none_or(|first| *first >= 0.0),
            _ => false,
        }
    }

    /// The most series that the instrument can have where each free label takes at most `cap` values and `other`.
    pub(crate) fn max_series(&self, cap: usize) -> usize {
        // Its labels say one thing together. The SDK makes room for the limit at once and walks through all of it at
        // each collection: 257³ places would be 33 MB and milliseconds.
        if self.kind == Kind::Info {
            return 1;
        }
        self.labels
            .iter()
            .map(|label| match label.values {
                Values::Closed(values) => values.len(),
                Values::Free => cap + 1,
            })
            .product()
    }

    /// Whether a start-up 0 would be a lie: the value is a point in time.
    pub fn is_timestamp(&self) -> bool {
        self.name.ends_with("_timestamp_seconds") || self.name == "process_start_time_seconds"
    }
}

/// The row of that name, or `None`.
pub fn find(name: &str) -> Option<&'static Instrument> {
    CATALOG.iter().find(|row| row.name == name)
}

/// The row of that name, for constants: a misspelt name does not compile.
pub(crate) const fn named(name: &str) -> &'static Instrument {
    let mut index = 0;
    while index < CATALOG.len() {
        if same(CATALOG[index].name.as_bytes(), name.as_bytes()) {
            return &CATALOG[index];
        }
        index += 1;
    }
    panic!("no such instrument in the catalogue")
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn closed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Closed(values) }
}

const fn free(name: &'static str) -> Label {
    Label { name, values: Values::Free }
}

const fn row(
    name: &'static str,
    kind: Kind,
    group: Group,
    labels: &'static [Label],
    help: &'static str,
) -> Instrument {
    Instrument { name, kind, group, labels, help }
}

const STRATEGY: Label = free("strategy");
const COMPONENT: Label = free("component");
const SEVERITY: Label = closed("severity", &["critical", "warning", "info"]);
const CHANNEL: Label = closed("channel", &["log", "slack", "telegram", "alertmanager"]);

/// Every built-in instrument, in the order of the scrape.
#[rustfmt::skip]
pub const CATALOG: &[Instrument] = &[
    row("trading_system_info", Info, System, &[free("version"), free("environment"), free("broker")], "Trading system information"),
    row("trading_orders_total", Counter, Orders,
        &[closed("side", Side::VALUES), closed("order_type", OrderType::VALUES), STRATEGY, closed("status", OrderStatus::VALUES)],
        "Total orders submitted"),
    row("trading_trades_total", Counter, Orders, &[closed("side", Side::VALUES), STRATEGY], "Total trades executed"),
    row("trading_trade_pnl_dollars",
        Histogram(&[-1000.0, -500.0, -200.0, -100.0, -50.0, -20.0, 0.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]),
        Orders, &[STRATEGY], "Trade P&L in dollars"),
    row("trading_portfolio_equity_dollars", Gauge, Portfolio, &[], "Total portfolio equity"),
    row("trading_portfolio_cash_dollars", Gauge, Portfolio, &[], "Available cash"),
    row("trading_portfolio_positions_count", Gauge, Portfolio, &[], "Number of open positions"),
    row("trading_portfolio_daily_pnl_dollars", Gauge, Portfolio, &[], "Daily P&L in dollars"),
    row("trading_portfolio_daily_pnl_pct", Gauge, Portfolio, &[], "Daily P&L percentage"),
    row("trading_portfolio_drawdown_pct", Gauge, Portfolio, &[], "Current drawdown percentage"),
    row("trading_risk_checks_total", Counter, Risk, &[closed("result", RiskResult::VALUES)], "Total risk checks performed"),
    row("trading_pdt_trades_used", Gauge, Risk, &[], "Day trades used in rolling 5-day window (max 3)"),
    row("trading_circuit_breakers_tripped", Gauge, Risk, &[], "Number of circuit breakers currently tripped"),
    row("trading_kill_switch_active", Gauge, Risk, &[], "Kill switch status"),
    row("trading_fill_latency_ms", Histogram(&[100.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0]), Execution, &[],
        "Time from signal to fill in milliseconds"),
    row("trading_slippage_bps", Histogram(&[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]), Execution, &[],
        "Execution slippage in basis points"),
    row("trading_ml_model_accuracy", Gauge, Ml, &[], "Current ML model accuracy"),
    row("trading_ml_psi_drift", Gauge, Ml, &[], "Population Stability Index (model drift)"),

    row("trading_component_up", Gauge, Health, &[COMPONENT], "Whether the connection to a component is up, 1 or 0"),
    row("trading_health_check_duration_seconds", Gauge, Health, &[COMPONENT], "Duration of a component's last health check"),
    row("trading_health_check_last_success_timestamp_seconds", Gauge, Health, &[COMPONENT],
        "Time of a component's last successful health check"),
    row("trading_circuit_breaker_tripped", Gauge, Risk, &[free("breaker")], "Whether a circuit breaker is tripped, 1 or 0"),
    row("trading_ml_feature_importance", Gauge, Ml, &[free("feature")], "Importance of a feature in the current ML model"),
    row("trading_ml_prediction_confidence",
        Histogram(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0]), Ml, &[],
        "Confidence of ML predictions, 0 to 1"),
    row("trading_trade_profit_dollars_total", Counter, Orders, &[STRATEGY], "Sum of the profits of winning trades in dollars"),
    row("trading_trade_loss_dollars_total", Counter, Orders, &[STRATEGY], "Sum of the losses of losing trades in dollars"),
    row("trading_portfolio_snapshot_timestamp_seconds", Gauge, Portfolio, &[], "Time of the last portfolio snapshot"),
    row("trading_alerts_total", Counter, Alerts,
        &[SEVERITY, CHANNEL, closed("result", &["sent", "retried", "undeliverable", "dropped", "silenced", "deduplicated"])],
        "Total alert notifications by what became of them"),
    row("trading_alert_incidents_open", Gauge, Alerts, &[SEVERITY], "Number of open alert incidents"),
    row("trading_alert_rule_state", Gauge, Alerts, &[free("rule")], "State of an alert rule: 0 normal, 1 warning, 2 critical, -1 blind"),
    row("trading_alert_evaluation_duration_seconds", Gauge, Alerts, &[], "Duration of the last evaluation of the alert rules"),
    row("trading_alert_channel_up", Gauge, Alerts, &[CHANNEL], "Whether an alert channel accepts messages, 1 or 0"),
    row("trading_alert_queue_length", Gauge, Alerts, &[CHANNEL], "Number of alert messages waiting for a channel"),
    row("trading_alert_oldest_unsent_seconds", Gauge, Alerts, &[CHANNEL], "Age of the oldest alert message waiting for a channel"),
    row("trading_alert_send_duration_seconds", Histogram(&[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]), Alerts, &[CHANNEL],
        "Duration of an alert channel's requests"),
    row("trading_telemetry_refused_values_total", Counter, Telemetry, &[free("instrument")],
        "Total values refused because they were NaN, infinite or a negative add"),
    row("trading_telemetry_over_cap_total", Counter, Telemetry, &[free("what")],
        "Total label values folded into other because a cap was reached"),
    row("trading_telemetry_log_dropped_total", Counter, Telemetry, &[closed("reason", &["queue_full", "write_failed", "encode_failed"])],
        "Total log lines lost"),
    row("trading_telemetry_audit_lost_total", Counter, Telemetry, &[], "Total audit lines lost"),
    row("trading_telemetry_otlp_items_total", Counter, Telemetry,
        &[closed("signal", &["traces", "logs", "metrics"]), closed("result", &["exported", "lost"])],
        "Total spans, log records and metric points by what became of their export"),
    row("trading_telemetry_panics_total", Counter, Telemetry, &[], "Total panics of the service"),
    row("trading_telemetry_foreign_collect_failures_total", Counter, Telemetry, &[],
        "Total collections of the service's own instruments that failed because a callback panicked or hung"),

    row("process_cpu_seconds_total", Counter, Process, &[], "Total user and system CPU time spent in seconds."),
    row("process_open_fds", Gauge, Process, &[], "Number of open file descriptors."),
    row("process_max_fds", Gauge, Process, &[], "Maximum number of open file descriptors."),
    row("process_virtual_memory_bytes", Gauge, Process, &[], "Virtual memory size in bytes."),
    row("process_resident_memory_bytes", Gauge, Process, &[], "Resident memory size in bytes."),
    row("process_start_time_seconds", Gauge, Process, &[], "Start time of the process since unix epoch in seconds."),
];
