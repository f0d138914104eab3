//! Lines for a person at a terminal, beside the file.

use std::fmt::Write as _;
use std::io::{self, Write};

use jiff::Timestamp;
use tracing::{Level, Metadata};

use super::json::{Line, Stamp};
use super::writer::Output;

/// How a line for a person looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) color: bool,
}

impl Style {
    /// `2024-03-15T14:32:15.123456Z INFO  order_submitted symbol=AAPL quantity=100 my_crate`.
    pub(super) fn render(
        self,
        line: &Line,
        metadata: &Metadata<'_>,
        now: Timestamp,
        stamp: &mut Stamp,
        out: &mut String,
    ) {
        let dim = self.paint("2");
        span(out, dim, |out| stamp.write(now, out));
        let color = match *metadata.level() {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "34",
        };
        out.push(' ');
        span(out, self.paint(color), |out| {
            let _ = write!(out, "{:<5}", metadata.level().as_str());
        });
        out.push(' ');
        span(out, self.paint("1"), |out| push_harmless(line.event(), out));
        for (key, value) in line.entries() {
            out.push(' ');
            span(out, dim, |out| {
                push_harmless(key, out);
                out.push('=');
            });
            push_harmless(unquoted(value), out);
        }
        out.push(' ');
        span(out, dim, |out| push_harmless(metadata.target(), out));
        out.push('\n');
    }

    fn paint(self, code: &'static str) -> Option<&'static str> {
        self.color.then_some(code)
    }
}

fn span(out: &mut String, code: Option<&str>, text: impl FnOnce(&mut String)) {
    if let Some(code) = code {
        let _ = write!(out, "\u{1b}[{code}m");
    }
    text(out);
    if code.is_some() {
        out.push_str("\u{1b}[0m");
    }
}

/// A plain word stands without its quotes.
fn unquoted(json: &str) -> &str {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json);
    let plain = !inner.is_empty() && !inner.contains(|c: char| c.is_whitespace() || c == '\\' || c == '=');
    if plain { inner } else { json }
}

/// JSON leaves DEL and the C1 controls as they are; a terminal would obey them.
fn push_harmless(text: &str, out: &mut String) {
    for character in text.chars() {
        if character.is_control() {
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// Standard error. A terminal that is stopped holds up the writing thread alone.
pub(super) struct Terminal;

impl Output for Terminal {
    fn put(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        // A terminal that has gone away must not be waited for: the file has the lines.
        let _ = io::stderr().write_all(lines);
        (lines.len(), Ok(()))
    }
}
