//! Logs: each event becomes one flat JSON line in a file that rotates.
//!
//! The calling thread formats the line and leaves it in a bounded queue; a thread of the log's own writes, rotates, and
//! tries again when the disk refuses. What is in the file survives a SIGKILL; what still waits in the queue, at most
//! [`LINGER`] while the disk keeps up, does not: [`Logs::flush`] waits for it.

mod claim;
mod compress;
mod config;
mod console;
mod filter;
mod json;
mod line;
mod names;
mod queue;
mod rotation;
mod stats;
mod tail;
mod voice;
mod writer;

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

pub use config::{FileConfig, LogConfig, LogFormat};
pub use filter::{EventFilter, FilterError};
pub use json::{CUT_MARK, FAILED_MARK, MAX_FIELDS, MAX_VALUE};
pub(crate) use line::ALERT_TARGET;
pub use line::AUDIT_TARGET;
pub(crate) use line::{Chain, LineLayer};
pub use queue::{LINGER, QueueConfig, Unwritten, WhenFull};
pub use stats::{DropReason, LogStats};
pub use voice::{LogNotice, NoticeKind};

use crate::clock::Clock;
use console::{Style, Terminal};
use queue::Queue;
use rotation::RotatingFile;
use voice::{Listener, Voice};
use writer::Writer;

/// What a drop without [`Logs::shutdown`] waits at most.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// The log of a service, as long as this lives. Dropping it writes what waits, within five seconds.
#[must_use = "dropping it closes the log"]
pub struct Logs {
    filter: EventFilter,
    main: Sink,
    audit: Option<Sink>,
    console: Option<(Arc<Queue>, Style)>,
    service: String,
    clock: Arc<dyn Clock>,
}

/// A queue, and what becomes of its lines.
struct Sink {
    queue: Arc<Queue>,
    stats: Arc<LogStats>,
}

impl Logs {
    /// Opens the files and starts the writing threads. `listener` hears, on those threads, what happens to the log; it
    /// must not wait.
    ///
    /// A directory that cannot be written to is no error: lines are kept as far as the queue goes, and each 200 ms it is
    /// tried again. [`LogStats::trouble`] says so from the start.
    ///
    /// # Errors
    /// When the filter cannot be read or no thread can be started.
    pub fn start(
        config: LogConfig,
        clock: Arc<dyn Clock>,
        listener: impl Fn(&LogNotice) + Send + Sync + 'static,
    ) -> Result<Self, LogError> {
        let filter = EventFilter::new(&config.filter, clock.clone())?;
        let service: Arc<str> = config.service.as_str().into();
        let listener: Listener = Arc::new(listener);
        let sink = |file: FileConfig, filter, thread| {
            Sink::start(file, config.queue.clone(), filter, thread, |queue, stats| Voice {
                queue,
                stats,
                clock: clock.clone(),
                service: service.clone(),
                listener: listener.clone(),
            })
        };
        let main = sink(config.file, Some(filter.clone()), "log-write")?;
        let audit = config.audit_file.map(|file| sink(file, None, "log-audit")).transpose()?;
        let console = console(config.format, &config.queue)?;
        Ok(Self { filter, main, audit, console, service: config.service, clock })
    }

    /// The layer that makes lines of events, behind [`filter`](Self::filter). The order's identity comes from the
    /// OpenTelemetry context, so the layers that put it there stand beside this one.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.lines().with_filter(self.filter.clone())
    }

    /// The layer without its filter.
    pub(crate) fn lines(&self) -> LineLayer {
        LineLayer {
            service: self.service.clone(),
            clock: self.clock.clone(),
            main: self.main.queue.clone(),
            audit: self.audit.as_ref().unwrap_or(&self.main).queue.clone(),
            console: self.console.clone(),
            stats: self.main.stats.clone(),
        }
    }

    /// The filter in force; other layers for events can use it too.
    pub fn filter(&self) -> &EventFilter {
        &self.filter
    }

    /// Counts of the service's file.
    pub fn stats(&self) -> &Arc<LogStats> {
        &self.main.stats
    }

    /// Counts of the audit file, where there is one. Audit lines that are lost count there, else with the others.
    pub fn audit_stats(&self) -> Option<&Arc<LogStats>> {
        self.audit.as_ref().map(|audit| &audit.stats)
    }

    /// Returns when `write(2)` has returned for every line that was logged before the call.
    ///
    /// # Errors
    /// When some are not written within `within`, or were given up.
    pub fn flush(&self, within: Duration) -> Result<(), Unwritten> {
        let until = Instant::now() + within;
        self.each_sink(|queue| queue.flush(until.saturating_duration_since(Instant::now())))
    }

    /// Writes what waits and ends the threads. Lines that come later are counted as lost.
    ///
    /// While the disk is full, or fails in another way that may pass, it is tried again until the time is over; where
    /// nothing can be written until somebody changes something (no permission, no directory), the lines are given up
    /// after one more try.
    ///
    /// # Errors
    /// When some lines were not written; they are lost.
    pub fn shutdown(&self, within: Duration) -> Result<(), Unwritten> {
        let until = Instant::now() + within;
        for queue in self.queues() {
            queue.close(until);
        }
        // The writer gives up at the deadline and then has to count what it gives up.
        self.each_sink(|queue| queue.finished(until + LINGER))
    }

    fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        let console = self.console.iter().map(|(queue, _)| queue);
        std::iter::once(&self.main.queue).chain(self.audit.iter().map(|sink| &sink.queue)).chain(console)
    }

    /// The terminal is waited for, but nothing is lost with it.
    fn each_sink(&self, each: impl Fn(&Queue) -> Result<(), Unwritten>) -> Result<(), Unwritten> {
        let main = each(&self.main.queue);
        let audit = self.audit.as_ref().map_or(Ok(()), |audit| each(&audit.queue));
        if let Some((console, _)) = &self.console {
            let _ = each(console);
        }
        match (main, audit) {
            (Err(main), Err(audit)) => Err(main.and(audit)),
            (main, audit) => main.and(audit),
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let _ = self.shutdown(DROP_WAIT);
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Logs")
            .field("service", &self.service)
            .field("stats", &self.main.stats)
            .finish_non_exhaustive()
    }
}

impl Sink {
    fn start(
        file: FileConfig,
        queue: QueueConfig,
        filter: Option<EventFilter>,
        thread: &str,
        voice: impl FnOnce(Arc<Queue>, Arc<LogStats>) -> Voice,
    ) -> io::Result<Self> {
        let stats = Arc::new(LogStats::default());
        let queue = Arc::new(Queue::new(queue, stats.clone()));
        let voice = voice(queue.clone(), stats.clone());
        let mut output = RotatingFile::new(file, voice.clone());
        let refused = output.open().err().map(|error| {
            voice.refused(&error);
            (voice.clock.monotonic(), error.to_string())
        });
        Writer { queue: queue.clone(), output, voice: Some(voice), filter, refused }.spawn(thread)?;
        Ok(Self { queue, stats })
    }
}

fn console(format: LogFormat, queue: &QueueConfig) -> io::Result<Option<(Arc<Queue>, Style)>> {
    let terminal = io::stderr().is_terminal();
    let wanted = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Console => true,
    };
    if !wanted {
        return Ok(None);
    }
    let config = QueueConfig { when_full: WhenFull::Drop, ..queue.clone() };
    let queue = Arc::new(Queue::new(config, Arc::default()));
    Writer { queue: queue.clone(), output: Terminal, voice: None, filter: None, refused: None }
        .spawn("log-console")?;
    let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Ok(Some((queue, Style { color })))
}

/// The log cannot start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LogError(#[from] LogErrorKind);

#[derive(Debug, thiserror::Error)]
enum LogErrorKind {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("no thread for writing the log can be started, raise the limit of threads")]
    Thread(#[from] io::Error),
}

impl LogError {
    /// The filter cannot be read.
    pub fn is_filter(&self) -> bool {
        matches!(self.0, LogErrorKind::Filter(_))
    }
}

impl From<FilterError> for LogError {
    fn from(error: FilterError) -> Self {
        Self(error.into())
    }
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self(error.into())
    }
}
