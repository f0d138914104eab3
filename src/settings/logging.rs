//! `logging`: what is written, where to, and how long it is kept.

use std::path::PathBuf;

use super::tree::{choice, section};

section! {
    /// Log lines: what is written, where to, and how long it is kept.
    pub struct LoggingSettings {
        /// Who is shown the lines. `auto`: the file, and a person where standard error is a terminal; `json`: the file
        /// alone; `console`: the file, and a person on standard error, whatever that is.
        format: LogFormat = LogFormat::Auto;
        /// Lowest level of events that are written: error, warn, info, debug, trace, or off. No level removes the
        /// audit trail, or the ids of an order from the lines that remain.
        level: LogLevel = LogLevel::Info;
        /// Finer rules, such as `warn,execution=debug`, in place of the level. `RUST_LOG` wins.
        filter: Option<String> = None;
        /// Folder of the log files.
        directory: PathBuf = PathBuf::from("logs");
        /// Log file; `{service}` is the service's name. Lines in it are always JSON.
        file: String = "{service}.log".to_owned();
        /// Size at which a file is rotated and compressed.
        max_file_bytes: u64 = 100_000_000, from 1000.0 to 1e15;
        /// Rotated files that are kept besides the live one.
        max_files: u32 = 10, from 0.0 to 100_000.0;
        /// Lines that may wait for the disk.
        queue_lines: usize = 65_536, from 16.0 to 16_777_216.0;
        /// What happens when the queue is full: `drop` (what is below a warning, counted) or `block` the caller.
        when_full: WhenFull = WhenFull::Drop;
        /// File of its own for the audit trail (`{service}` as above); `null` keeps it with the other lines.
        audit_file: Option<String> = None;
        /// Size at which the audit file is rotated and compressed.
        audit_max_file_bytes: u64 = 100_000_000, from 1000.0 to 1e15;
        /// Rotated audit files that are kept; `null` keeps all.
        audit_max_files: Option<u32> = None, from 1.0 to 100_000.0;
    }
}

choice! {
    /// Who is shown the lines besides the file, which is JSON in every case.
    pub enum LogFormat {
        /// A person, where standard error is a terminal.
        Auto = "auto",
        /// Nobody.
        Json = "json",
        /// A person, on standard error, whatever that is.
        Console = "console",
    }
}

choice! {
    /// The lowest level that is written.
    pub enum LogLevel {
        /// Nothing but the audit trail.
        Off = "off",
        /// Errors.
        Error = "error",
        /// And warnings.
        Warn = "warn",
        /// And what happens.
        Info = "info",
        /// And how.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

choice! {
    /// What happens to a line that finds the queue full.
    pub enum WhenFull {
        /// Below a warning it is dropped and counted.
        Drop = "drop",
        /// The caller waits.
        Block = "block",
    }
}

impl LoggingSettings {
    /// The live log file of `service`, in the directory.
    pub fn file_path(&self, service: &str) -> PathBuf {
        self.directory.join(for_service(&self.file, service))
    }

    /// The live audit file of `service`, in the directory.
    pub fn audit_path(&self, service: &str) -> Option<PathBuf> {
        self.audit_file.as_ref().map(|file| self.directory.join(for_service(file, service)))
    }

    /// The directives of the filter: the finer rules, else the level.
    pub fn directives(&self) -> &str {
        self.filter.as_deref().unwrap_or_else(|| self.level.as_str())
    }
}

/// `template` with the service's name, in letters that are safe in a file's name.
pub(super) fn for_service(template: &str, service: &str) -> String {
    let safe: String = service
        .chars()
        .map(|letter| if letter.is_alphanumeric() || "-_.".contains(letter) { letter } else { '_' })
        .collect();
    template.replace("{service}", &safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_never_leaves_the_folder() {
        let settings = LoggingSettings::default();
        assert_eq!(settings.file_path("risk"), PathBuf::from("logs/risk.log"));
        assert_eq!(settings.file_path("../etc/x y"), PathBuf::from("logs/.._etc_x_y.log"));
        assert_eq!(settings.audit_path("risk"), None);
    }
}
