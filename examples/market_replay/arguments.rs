//! The command line.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;

pub(crate) const HELP: &str = "\
Replays two years of a real market through a paper broker and records its telemetry.

usage: market_replay [--pace-ms N | --step] [--from DATE] [--days N] [--once]

  --pace-ms N   milliseconds per trading day (default 1000; 0 is as fast as it goes)
  --step        a trading day for each line of standard input (press Enter)
  --from DATE   hurry through the days before, such as 2008-09-02 for the crash
  --days N      stop after N trading days, counted from there
  --once        stop at the end of the data instead of starting over
  --help        this text";

/// How to replay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The time between two days; `None` is until a person wants the next.
    pub(crate) pace: Option<Duration>,
    /// The first day that takes its time.
    pub(crate) from: Option<Date>,
    pub(crate) days: Option<u64>,
    pub(crate) once: bool,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Replay(Arguments),
    Help,
}

/// An argument that is not one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Unknown(String),
    NotANumber { option: &'static str, given: Option<String> },
    NotADate { given: Option<String> },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(argument) => write!(f, "unknown argument `{argument}`"),
            Self::NotANumber { option, given: Some(given) } => {
                write!(f, "{option} takes a whole number, not `{given}`")
            }
            Self::NotANumber { option, given: None } => write!(f, "{option} takes a whole number"),
            Self::NotADate { given: Some(given) } => {
                write!(f, "--from takes a date such as 2008-09-02, not `{given}`")
            }
            Self::NotADate { given: None } => write!(f, "--from takes a date such as 2008-09-02"),
        }
    }
}

impl std::error::Error for Problem {}

/// Reads the arguments after the program's name.
pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Request, Problem> {
    let mut arguments = Arguments { pace: Some(Duration::from_secs(1)), from: None, days: None, once: false };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--pace-ms" => {
                arguments.pace = Some(Duration::from_millis(number("--pace-ms", given.next())?));
            }
            "--step" => arguments.pace = None,
            "--from" => {
                let given = given.next();
                let date = given.as_deref().and_then(|text| text.parse().ok());
                arguments.from = Some(date.ok_or(Problem::NotADate { given })?);
            }
            "--days" => arguments.days = Some(number("--days", given.next())?),
            "--once" => arguments.once = true,
            "--help" | "-h" => return Ok(Request::Help),
            _ => return Err(Problem::Unknown(argument)),
        }
    }
    Ok(Request::Replay(arguments))
}

fn number(option: &'static str, given: Option<String>) -> Result<u64, Problem> {
    let parsed = given.as_deref().and_then(|text| text.parse().ok());
    parsed.ok_or(Problem::NotANumber { option, given })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, Problem> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn defaults_and_options() {
        let replay = |ms: Option<u64>, days, once| {
            Ok(Request::Replay(Arguments { pace: ms.map(Duration::from_millis), from: None, days, once }))
        };
        assert_eq!(read(""), replay(Some(1_000), None, false));
        assert_eq!(read("--pace-ms 0 --once --days 30"), replay(Some(0), Some(30), true));
        assert_eq!(read("--step --once"), replay(None, None, true));
        assert_eq!(read("--days 3 --help"), Ok(Request::Help));
        let Ok(Request::Replay(crash)) = read("--from 2008-09-02") else { panic!("it is one") };
        assert_eq!(crash.from, Some(jiff::civil::date(2008, 9, 2)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |line| read(line).unwrap_err().to_string();
        assert_eq!(problem("--speed 3"), "unknown argument `--speed`");
        assert_eq!(problem("--days three"), "--days takes a whole number, not `three`");
        assert_eq!(problem("--days -1"), "--days takes a whole number, not `-1`");
        assert_eq!(problem("--pace-ms"), "--pace-ms takes a whole number");
        assert_eq!(problem("--from May"), "--from takes a date such as 2008-09-02, not `May`");
        assert_eq!(problem("--from"), "--from takes a date such as 2008-09-02");
    }
}
