//! What the log says about itself: lines of its own in the file, and notices for those who cannot read it there.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::json::{Line, Stamp, Tail};
use super::queue::Queue;
use super::stats::LogStats;
use crate::clock::Clock;

/// What has happened to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticeKind {
    /// The disk refuses lines; they wait in memory and are tried again.
    WriteFailed,
    /// The disk takes lines again.
    Recovered,
    /// Another process holds the configured file; this one writes to a file with its process id in the name.
    FileInUse,
    /// Files of a process that is gone cannot be taken over; the next start tries again.
    TakeOverFailed,
    /// A full file cannot be set aside, it grows on until that works.
    RotationFailed,
    /// A file that was set aside cannot be compressed or deleted; it is tried again.
    CompressionFailed,
}

/// Something that has happened to the log. It is told once per cause.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogNotice {
    /// What.
    pub kind: NoticeKind,
    /// The file that lines go to.
    pub path: PathBuf,
    /// The error, or what the kind leaves open.
    pub detail: String,
}

pub(super) type Listener = Arc<dyn Fn(&LogNotice) + Send + Sync>;

#[derive(Clone)]
pub(super) struct Voice {
    pub(super) queue: Arc<Queue>,
    pub(super) stats: Arc<LogStats>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) service: Arc<str>,
    pub(super) listener: Listener,
}

impl Voice {
    /// Puts a line of our own behind those that wait.
    pub(super) fn say(&self, level: &'static str, event: &str, fields: impl FnOnce(&mut Line)) {
        self.queue.say(&[&self.line(level, event, fields)]);
    }

    pub(super) fn line(&self, level: &'static str, event: &str, fields: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::default();
        line.set_event(format_args!("{event}"));
        fields(&mut line);
        let tail = Tail {
            ids: None,
            service: &self.service,
            logger: "trading_telemetry",
            now: self.clock.wall(),
            level,
        };
        line.finish(&tail, &mut Stamp::default()).concat()
    }

    pub(super) fn refused(&self, error: &io::Error) {
        self.stats.set_trouble(Some(error.to_string()));
        self.notify(NoticeKind::WriteFailed, &error.to_string());
    }

    pub(super) fn notify(&self, kind: NoticeKind, detail: &str) {
        (self.listener)(&LogNotice { kind, path: self.stats.path(), detail: detail.to_owned() });
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Voice").field("service", &self.service).finish_non_exhaustive()
    }
}
