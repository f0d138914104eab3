//! The market: daily bars, parsed once from the embedded file.

use std::fmt;

use jiff::civil::Date;

/// A stock's ticker.
pub(crate) type Symbol = &'static str;

/// What one stock did in one day; prices in dollars, volume in shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume: f64,
}

impl Bar {
    /// From low to high, in basis points of the open.
    pub(crate) fn range_bps(&self) -> f64 {
        (self.high - self.low) / self.open * 10_000.0
    }
}

/// One trading day of every stock, sorted by symbol.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    pub(crate) date: Date,
    pub(crate) bars: Vec<(Symbol, Bar)>,
}

impl Day {
    pub(crate) fn bar(&self, symbol: Symbol) -> Option<&Bar> {
        self.bars.iter().find(|(name, _)| *name == symbol).map(|(_, bar)| bar)
    }
}

/// A line of the file that is not a bar.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    line: usize,
    problem: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {} of the bars: {}; write date,symbol,open,high,low,close,volume",
            self.line, self.problem
        )
    }
}

impl std::error::Error for BadLine {}

/// Reads `date,symbol,open,high,low,close,volume` lines below a header, sorted by date, into days.
pub(crate) fn parse(csv: &'static str) -> Result<Vec<Day>, BadLine> {
    let mut days: Vec<Day> = Vec::new();
    for (index, text) in csv.lines().enumerate().skip(1).filter(|(_, text)| !text.trim().is_empty()) {
        let bad = |problem| BadLine { line: index + 1, problem };
        let (date, symbol, bar) = parse_line(text).map_err(bad)?;
        match days.last_mut() {
            Some(day) if day.date == date => {
                if day.bar(symbol).is_some() {
                    return Err(bad("a second bar of one symbol on one day"));
                }
                day.bars.push((symbol, bar));
            }
            Some(day) if day.date > date => return Err(bad("an earlier date after a later one")),
            _ => days.push(Day { date, bars: vec![(symbol, bar)] }),
        }
    }
    Ok(days)
}

fn parse_line(text: &'static str) -> Result<(Date, Symbol, Bar), &'static str> {
    let fields: Vec<&'static str> = text.split(',').map(str::trim).collect();
    let [date, symbol, open, high, low, close, volume] = fields[..] else {
        return Err("not seven fields");
    };
    let number = |text: &str| match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("a price or volume that is not a positive number"),
    };
    let bar = Bar {
        open: number(open)?,
        high: number(high)?,
        low: number(low)?,
        close: number(close)?,
        volume: number(volume)?,
    };
    if bar.low > bar.open.min(bar.close) || bar.high < bar.open.max(bar.close) {
        return Err("open or close outside low to high");
    }
    Ok((date.parse().map_err(|_| "not a date")?, symbol, bar))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "date,symbol,open,high,low,close,volume\n";

    #[test]
    fn the_embedded_market_is_504_days_of_four_stocks() {
        let days = parse(crate::BARS).unwrap();
        assert_eq!(days.len(), 504);
        assert!(days.iter().all(|day| day.bars.len() == 4));
        assert_eq!(days[0].date.to_string(), "2007-07-02");
        assert_eq!(days[0].bar("AAPL").unwrap().close, 121.26);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, problem) in [
            ("2008-01-02,AAPL,1,2,1,2", "not seven fields"),
            ("2008-01-32,AAPL,1,2,1,2,9", "not a date"),
            ("2008-01-02,AAPL,1,2,1,NaN,9", "a price or volume that is not a positive number"),
            ("2008-01-02,AAPL,1,2,1,3,9", "open or close outside low to high"),
        ] {
            let csv: &'static str = format!("{HEADER}2008-01-01,AAPL,1,2,1,2,9\n{line}\n").leak();
            assert_eq!(parse(csv).unwrap_err(), BadLine { line: 3, problem });
        }
        let csv: &'static str = format!("{HEADER}2008-01-02,A,1,2,1,2,9\n2008-01-01,A,1,2,1,2,9\n").leak();
        assert!(parse(csv).unwrap_err().to_string().starts_with("line 3 of the bars: an earlier date"));
    }
}
