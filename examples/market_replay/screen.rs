//! What a person sees: a line that is redrawn on a terminal, and now and then a line anywhere else.

use std::io::{self, IsTerminal, Write};

use crate::desk::DayReport;

/// Trading days between two lines where nothing can be redrawn.
const DAYS_PER_LINE: u32 = 5;

/// Standard output. A reader that goes away (`| head`) closes it, and that is no error.
pub(crate) struct Screen {
    redraws: bool,
    days_per_line: u32,
    drawn: usize,
    /// The latest progress, until it has a line of its own.
    unkept: Option<String>,
    days: u32,
    closed: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let redraws = io::stdout().is_terminal();
        Self { redraws, days_per_line: DAYS_PER_LINE, drawn: 0, unkept: None, days: 0, closed: false }
    }

    /// Each day has a line of its own: Enter has begun one already.
    pub(crate) fn keep_each_day(&mut self) {
        (self.redraws, self.days_per_line) = (false, 1);
    }

    /// Nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.clear();
        self.write(&format!("{text}\n"));
    }

    pub(crate) fn error(&mut self, text: &str) {
        self.clear();
        // Where standard error is gone too, nobody is left to be told.
        let _ = writeln!(io::stderr(), "error: {text}");
    }

    /// The progress after a day, and what was worth a line of its own.
    pub(crate) fn day(&mut self, report: &DayReport) {
        for note in &report.notes {
            self.line(note);
        }
        self.days += 1;
        let text = progress(report);
        if self.redraws {
            self.clear();
            self.drawn = text.len();
            self.write(&text);
            self.unkept = Some(text);
        } else if (self.days - 1).is_multiple_of(self.days_per_line) {
            self.line(&text);
            self.unkept = None;
        } else {
            self.unkept = Some(text);
        }
    }

    /// Lets the latest progress stand, and begins anew.
    pub(crate) fn keep_progress(&mut self) {
        if let Some(text) = self.unkept.take() {
            self.line(&text);
        }
        self.days = 0;
    }

    fn clear(&mut self) {
        if self.drawn > 0 {
            self.write(&format!("\r{:width$}\r", "", width = self.drawn));
            self.drawn = 0;
        }
    }

    fn write(&mut self, text: &str) {
        let mut out = io::stdout();
        self.closed |= out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err();
    }
}

fn progress(report: &DayReport) -> String {
    let portfolio = &report.portfolio;
    format!(
        "{}  equity {:>10.2}  drawdown {:>4.1} %  open positions {}",
        report.date, portfolio.equity_dollars, portfolio.drawdown_pct, portfolio.positions
    )
}
