//! What is written, and how the program ends.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use serde_json::Value;

/// Something is wrong.
const WRONG: u8 = 1;
/// A service cannot be reached.
const UNREACHABLE: u8 = 3;

/// Why a command did not do what it is for.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    pub(crate) fn wrong(text: impl std::fmt::Display) -> Self {
        Self { code: WRONG, text: text.to_string() }
    }

    pub(crate) fn unreachable(text: impl std::fmt::Display) -> Self {
        Self { code: UNREACHABLE, text: text.to_string() }
    }

    /// Writes it to standard error; the code is for the caller of the program.
    pub(crate) fn tell(&self) -> ExitCode {
        if !self.text.is_empty() {
            note(&format!("error: {}", self.text));
        }
        ExitCode::from(self.code)
    }
}

/// A line on standard error.
pub(crate) fn note(text: &str) {
    // Where even that is closed nobody is there to be told.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The end of a check: a success, or something is wrong that has been told.
pub(crate) fn verdict(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Writes what was asked for: `json`, or the text.
    pub(crate) fn either(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json { write(&format!("{:#}\n", json())) } else { write(&text()) }
    }
}

/// Writes text to standard output.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::wrong(format!("cannot write: {error}"))),
    }
}

/// A table whose columns are as wide as their widest cell.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heads.get(column).map(|head| head.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(wide).collect();
    let mut out = String::new();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
