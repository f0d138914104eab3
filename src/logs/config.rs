//! What the log is told to be.

use std::path::PathBuf;

use super::queue::QueueConfig;

/// How lines are shown. The file is JSON in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The file, and where standard error is a terminal also lines for a person there.
    #[default]
    Auto,
    /// The file alone.
    Json,
    /// The file, and lines for a person on standard error, whatever that is.
    Console,
}

/// A file and how much of its past is kept.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// The live file.
    pub path: PathBuf,
    /// A file that would grow beyond this many bytes is set aside and compressed.
    pub rotate_bytes: u64,
    /// How many files that were set aside are kept; the oldest are deleted.
    pub keep: usize,
}

impl FileConfig {
    /// 100 MB (10⁶) a file, 10 kept.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), rotate_bytes: 100_000_000, keep: 10 }
    }
}

/// The log of one service.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The value of `service` on every line.
    pub service: String,
    /// Where lines go.
    pub file: FileConfig,
    /// A file of their own for audit lines, with a queue and a thread of its own.
    pub audit_file: Option<FileConfig>,
    /// Bounds of each queue.
    pub queue: QueueConfig,
    /// Whether a person is shown the lines too.
    pub format: LogFormat,
    /// Which events become lines, in the manner of `RUST_LOG`.
    pub filter: String,
}

impl LogConfig {
    /// The log of `service`: `logs/<service>.log`, `info` and above.
    pub fn new(service: impl Into<String>) -> Self {
        let service = service.into();
        Self {
            file: FileConfig::new(format!("logs/{service}.log")),
            service,
            audit_file: None,
            queue: QueueConfig::default(),
            format: LogFormat::default(),
            filter: "info".to_owned(),
        }
    }
}
