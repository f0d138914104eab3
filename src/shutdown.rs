//! The end: every signal is flushed in parallel under one deadline, and each one says what became of it.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A part of the telemetry that has something to bring home.
pub(crate) trait Signal: Send + Sync {
    /// Its name in the report.
    fn name(&self) -> &'static str;
    /// Whether the others have something to leave with it on their way out: the log, and its export.
    fn is_last(&self) -> bool {
        false
    }
    /// Brings home what was accepted before the call, and says whether it all was.
    fn flush(&self, _deadline: Duration) -> bool {
        true
    }
    /// Flushes and stops, and says what became of what was accepted. May be left behind at the deadline.
    fn shutdown(&self, deadline: Duration) -> SignalOutcome;
}

/// What a signal made of its shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub struct ShutdownError {
    report: ShutdownReport,
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

/// How much of the deadline is kept for those that are last.
const LAST: f64 = 0.4;

/// Shuts all signals down at once, those that are last after the others, and waits for them until the deadline, never
/// longer.
pub(crate) fn shut_down(signals: &[Arc<dyn Signal>], deadline: Duration) -> ShutdownReport {
    let start = Instant::now();
    let (last, first): (Vec<_>, Vec<_>) = signals.iter().cloned().partition(|signal| signal.is_last());
    let for_first = if last.is_empty() { deadline } else { deadline.mul_f64(1.0 - LAST) };
    let mut signals = at_once(&first, start, for_first);
    signals.extend(at_once(&last, start, deadline.saturating_sub(start.elapsed())));
    ShutdownReport { signals }
}

/// The reports of these signals, those that did not finish last.
fn at_once(signals: &[Arc<dyn Signal>], start: Instant, deadline: Duration) -> Vec<SignalReport> {
    let until = Instant::now() + deadline;
    let (report, reports) = channel();
    let mut waiting = Vec::new();
    for signal in signals {
        let (one, report) = (Arc::clone(signal), report.clone());
        let thread = std::thread::Builder::new().name(format!("telemetry-{}", signal.name()));
        let spawned = thread.spawn(move || {
            let outcome = one.shutdown(deadline);
            // Nobody listens any more once the deadline has passed.
            let _ = report.send(SignalReport {
                signal: one.name(),
                delivered: outcome.delivered,
                lost: outcome.lost,
                kept: outcome.kept,
                error: outcome.error,
                took: start.elapsed(),
            });
        });
        waiting.push((signal.name(), spawned.err().map(|error| format!("no thread: {error}"))));
    }
    drop(report);
    let mut finished = Vec::new();
    // A signal that meets the deadline itself still has to be heard.
    let until = until + Duration::from_millis(100);
    while let Ok(report) = reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
        waiting.retain(|(name, _)| *name != report.signal);
        finished.push(report);
    }
    finished.extend(waiting.into_iter().map(|(signal, error)| SignalReport {
        signal,
        delivered: None,
        lost: 0,
        kept: 0,
        error: Some(error.unwrap_or_else(|| format!("not finished within {deadline:?}"))),
        took: start.elapsed(),
    }));
    finished
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sleeper(&'static str, Duration, u64);

    impl Signal for Sleeper {
        fn name(&self) -> &'static str {
            self.0
        }

        fn shutdown(&self, _deadline: Duration) -> SignalOutcome {
            std::thread::sleep(self.1);
            SignalOutcome { delivered: Some(10), lost: self.2, kept: 0, error: None }
        }
    }

    #[test]
    fn a_signal_that_hangs_is_reported_and_delays_nobody() {
        let signals: Vec<Arc<dyn Signal>> = vec![
            Arc::new(Sleeper("hung", Duration::from_mins(10), 0)),
            Arc::new(Sleeper("logs", Duration::ZERO, 0)),
        ];
        let report = shut_down(&signals, Duration::from_millis(50));
        assert_eq!(report.signals()[0].signal, "logs");
        assert_eq!(report.signals()[1].error.as_deref(), Some("not finished within 50ms"));
        let error = report.into_result().unwrap_err();
        assert_eq!(error.to_string(), "telemetry was lost at shutdown: 0 hung (not finished within 50ms)");
    }

    #[test]
    fn a_loss_is_an_error() {
        let signals: Vec<Arc<dyn Signal>> = vec![Arc::new(Sleeper("traces", Duration::ZERO, 3))];
        let error = shut_down(&signals, Duration::from_secs(5)).into_result().unwrap_err();
        assert_eq!(error.to_string(), "telemetry was lost at shutdown: 3 traces");
        assert!(error.report().to_string().contains("traces       10 delivered, 3 lost"));
    }
}
