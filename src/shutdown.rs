//! The end: every signal is flushed under one deadline, and each one says what became of it.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A part of the telemetry that has something to bring home.
pub(crate) trait Signal: Send + Sync {
    /// Its name in the report.
    fn name(&self) -> &'static str;
    /// When it ends.
    fn stage(&self) -> Stage {
        Stage::Work
    }
    /// Brings home what was accepted before the call, and says whether it all was.
    fn flush(&self, _deadline: Duration) -> bool {
        true
    }
    /// Flushes and stops, and says what became of what was accepted. May be left behind at the deadline.
    fn shutdown(&self, deadline: Duration) -> SignalOutcome;
    /// What has become of it so far, without waiting: what is said of one that was left behind.
    fn so_far(&self) -> SignalOutcome {
        SignalOutcome::default()
    }
}

/// Who ends after whom: each stage has something to leave with the next on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Alerts, health, server.
    Work,
    /// Spans and lines on their way to a collector.
    Export,
    /// The log: the export logs too.
    Log,
}

impl Stage {
    /// The stages in their order, each with the share of the deadline at which it is over, so that the next has time
    /// left whatever hangs.
    const ALL: [(Self, f64); 3] = [(Self::Work, 0.6), (Self::Export, 0.85), (Self::Log, 1.0)];
}

/// What a signal made of its shutdown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalOutcome {
    /// How many items were delivered in the life of the process, or `None` where that is no figure of the signal.
    pub(crate) delivered: Option<u64>,
    /// How many items were lost.
    pub(crate) lost: u64,
    /// How many items are kept for the next start.
    pub(crate) kept: u64,
    /// What went wrong, where something did.
    pub(crate) error: Option<String>,
}

/// What became of one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalReport {
    /// `logs`, `traces`, `alerts`, …
    pub signal: &'static str,
    /// Items delivered since the start; `None` where the signal has none to count.
    pub delivered: Option<u64>,
    /// Items lost since the start.
    pub lost: u64,
    /// Items kept on disk for the next start.
    pub kept: u64,
    /// What went wrong; `None` where all went well.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl SignalReport {
    fn new(signal: &'static str, outcome: SignalOutcome, start: Instant) -> Self {
        let SignalOutcome { delivered, lost, kept, error } = outcome;
        Self { signal, delivered, lost, kept, error, took: start.elapsed() }
    }
}

/// What became of everything that was accepted: a line a signal.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ShutdownReport {
    signals: Vec<SignalReport>,
}

impl ShutdownReport {
    /// The signals, in the order in which they finished; those that did not are last.
    pub fn signals(&self) -> &[SignalReport] {
        &self.signals
    }

    /// Whether every signal finished and nothing was lost.
    pub fn is_complete(&self) -> bool {
        self.signals.iter().all(|signal| signal.lost == 0 && signal.error.is_none())
    }

    /// The report, or an error that holds it where something was lost.
    pub(crate) fn into_result(self) -> Result<Self, ShutdownError> {
        if self.is_complete() { Ok(self) } else { Err(ShutdownError { report: self }) }
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("telemetry shut down")?;
        for signal in &self.signals {
            write!(f, "\n  {:<12}", signal.signal)?;
            if let Some(delivered) = signal.delivered {
                write!(f, " {delivered} delivered,")?;
            }
            if signal.kept > 0 {
                write!(f, " {} kept for the next start,", signal.kept)?;
            }
            write!(f, " {} lost, {} ms", signal.lost, signal.took.as_millis())?;
            if let Some(error) = &signal.error {
                write!(f, " ({error})")?;
            }
        }
        Ok(())
    }
}

/// Something was lost on the way out, or a signal did not finish in time.
///
/// `Debug` is what a person reads: it is what a `main` that returns the error prints.
#[derive(Clone)]
pub struct ShutdownError {
    report: ShutdownReport,
}

impl fmt::Debug for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl ShutdownError {
    /// What became of each signal.
    pub fn report(&self) -> &ShutdownReport {
        &self.report
    }
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bad = self.report.signals.iter().filter(|signal| signal.lost > 0 || signal.error.is_some());
        f.write_str("telemetry was lost at shutdown:")?;
        for (index, signal) in bad.enumerate() {
            write!(f, "{} {} {}", if index > 0 { ";" } else { "" }, signal.lost, signal.signal)?;
            if let Some(error) = &signal.error {
                write!(f, " ({error})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ShutdownError {}

/// Shuts the signals down, all of a stage at once, and waits for them until the deadline, never longer. What the others
/// have lost is a line of the log, which ends last: whoever drops the handle reads no report.
pub(crate) fn shut_down(signals: &[Arc<dyn Signal>], deadline: Duration) -> ShutdownReport {
    let start = Instant::now();
    let mut report = ShutdownReport::default();
    for (stage, share) in Stage::ALL {
        if stage == Stage::Log
            && let Err(error) = report.clone().into_result()
        {
            tracing::error!(target: "trading_telemetry", %error, "telemetry_lost_at_shutdown");
        }
        let signals: Vec<_> = signals.iter().filter(|signal| signal.stage() == stage).cloned().collect();
        report.signals.extend(at_once(&signals, start, deadline.mul_f64(share)));
    }
    report
}

/// The reports of these signals, those that did not finish last. They have until `over` after the `start`.
fn at_once(signals: &[Arc<dyn Signal>], start: Instant, over: Duration) -> Vec<SignalReport> {
    let deadline = over.saturating_sub(start.elapsed());
    let (report, reports) = channel();
    let mut waiting = Vec::new();
    for signal in signals {
        let (one, report) = (Arc::clone(signal), report.clone());
        let thread = std::thread::Builder::new().name(format!("telemetry-{}", signal.name()));
        let spawned = thread.spawn(move || {
            let outcome = one.shutdown(deadline);
            // Nobody listens any more once the deadline has passed.
            let _ = report.send(SignalReport::new(one.name(), outcome, start));
        });
        waiting.push((signal, spawned.err().map(|error| format!("no thread: {error}"))));
    }
    drop(report);
    let mut finished = Vec::new();
    // A signal that meets the deadline itself still has to be heard.
    let until = start + over + Duration::from_millis(100);
    while let Ok(report) = reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
        waiting.retain(|(signal, _)| signal.name() != report.signal);
        finished.push(report);
    }
    finished.extend(waiting.into_iter().map(|(signal, error)| {
        let error = Some(error.unwrap_or_else(|| format!("not finished within {over:?}")));
        SignalReport::new(signal.name(), SignalOutcome { error, ..signal.so_far() }, start)
    }));
    finished
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sleeper(&'static str, Duration, u64);

    struct At(Stage, Sleeper);

    impl Signal for At {
        fn name(&self) -> &'static str {
            self.1.0
        }

        fn stage(&self) -> Stage {
            self.0
        }

        fn shutdown(&self, deadline: Duration) -> SignalOutcome {
            self.1.shutdown(deadline)
        }
    }

    impl Signal for Sleeper {
        fn name(&self) -> &'static str {
            self.0
        }

        fn shutdown(&self, _deadline: Duration) -> SignalOutcome {
            std::thread::sleep(self.1);
            self.so_far()
        }

        fn so_far(&self) -> SignalOutcome {
            SignalOutcome { delivered: Some(10), lost: self.2, ..SignalOutcome::default() }
        }
    }

    #[test]
    fn a_signal_that_hangs_is_reported_and_delays_nobody() {
        let signals: Vec<Arc<dyn Signal>> = vec![
            Arc::new(Sleeper("hung", Duration::from_mins(10), 7)),
            Arc::new(Sleeper("logs", Duration::ZERO, 0)),
        ];
        let report = shut_down(&signals, Duration::from_secs(1));
        assert_eq!(report.signals()[0].signal, "logs");
        assert_eq!(report.signals()[1].error.as_deref(), Some("not finished within 600ms"));
        let error = report.into_result().unwrap_err();
        assert_eq!(error.to_string(), "telemetry was lost at shutdown: 7 hung (not finished within 600ms)");
    }

    #[test]
    fn the_log_ends_last_and_has_time_left_whatever_hangs() {
        let forever = Duration::from_mins(10);
        let signals: Vec<Arc<dyn Signal>> = vec![
            Arc::new(At(Stage::Log, Sleeper("logs", Duration::ZERO, 0))),
            Arc::new(At(Stage::Export, Sleeper("otlp logs", forever, 0))),
            Arc::new(At(Stage::Work, Sleeper("server", forever, 0))),
        ];
        let start = Instant::now();
        let report = shut_down(&signals, Duration::from_secs(1));
        let ends: Vec<_> = report.signals().iter().map(|one| (one.signal, one.error.is_some())).collect();
        assert_eq!(ends, [("server", true), ("otlp logs", true), ("logs", false)]);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }

    #[test]
    fn a_loss_is_an_error() {
        let signals: Vec<Arc<dyn Signal>> = vec![Arc::new(Sleeper("traces", Duration::ZERO, 3))];
        let error = shut_down(&signals, Duration::from_secs(5)).into_result().unwrap_err();
        assert_eq!(error.to_string(), "telemetry was lost at shutdown: 3 traces");
        assert!(error.report().to_string().contains("traces       10 delivered, 3 lost"));
    }
}
