//! Past data, from a file of comma-separated values.

use std::path::Path;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::output::Failure;

/// A table of samples.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) series: Vec<Series>,
    /// By time.
    pub(super) rows: Vec<Row>,
}

/// What a column holds.
#[derive(Debug, PartialEq)]
pub(super) struct Series {
    pub(super) metric: String,
    pub(super) labels: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) at: Timestamp,
    pub(super) cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    /// Nothing was recorded: the value before stands.
    Nothing,
    /// NaN or infinite.
    Refused,
    Value(f64),
}

impl Data {
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::wrong(format!("{}: {what}", file.display()));
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(file)
            .map_err(|error| wrong(error.to_string()))?;
        let heads = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
        let series: Vec<Series> =
            heads.iter().skip(1).map(parse_series).collect::<Result<_, _>>().map_err(&wrong)?;
        if series.is_empty() {
            return Err(wrong("write a column of times, and one for each series".to_owned()));
        }
        if let Some(twice) = (1..series.len()).find(|index| series[..*index].contains(&series[*index])) {
            return Err(wrong(format!("`{}` has two columns: leave one", &heads[twice + 1])));
        }
        let mut rows: Vec<Row> = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let wrong = |what: String| wrong(format!("line {line}: {what}"));
            let time = record.get(0).unwrap_or_default();
            let at = parse_time(time).ok_or_else(|| {
                wrong(format!(
                    "`{time}` is no time: write 2026-03-15T14:32:00Z, 2026-03-15 or seconds since 1970"
                ))
            })?;
            if rows.last().is_some_and(|before| before.at >= at) {
                return Err(wrong("it is not later than the line before: sort the lines by time".to_owned()));
            }
            let cells = record.iter().skip(1).map(parse_cell).collect::<Result<_, _>>().map_err(wrong)?;
            rows.push(Row { at, cells });
        }
        Ok(Self { series, rows })
    }
}

fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
        return Timestamp::UNIX_EPOCH.checked_add(since).ok();
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| text.parse::<Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight())));
    Some(civil.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn parse_cell(text: &str) -> Result<Cell, String> {
    match text.parse::<f64>() {
        _ if text.is_empty() => Ok(Cell::Nothing),
        Ok(value) if value.is_finite() => Ok(Cell::Value(value)),
        Ok(_) => Ok(Cell::Refused),
        Err(_) => Err(format!("`{text}` is no number: leave the cell empty where nothing was recorded")),
    }
}

/// Reads `metric` or `metric{label="value",…}`.
fn parse_series(text: &str) -> Result<Series, String> {
    let wrong =
        || format!("`{text}` is no series: write it like trading_component_up{{component=\"broker\"}}");
    let (metric, rest) = text.split_once('{').unwrap_or((text, "}"));
    let mut rest = rest.strip_suffix('}').ok_or_else(wrong)?.trim();
    let metric = metric.trim().to_owned();
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_:.".contains(c));
    if !is_name(&metric) {
        return Err(wrong());
    }
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once('=').ok_or_else(wrong)?;
        let (value, after) =
            quoted.trim_start().strip_prefix('"').and_then(|text| text.split_once('"')).ok_or_else(wrong)?;
        if !is_name(name.trim()) {
            return Err(wrong());
        }
        labels.push((name.trim().to_owned(), value.to_owned()));
        rest = after.trim_start();
        rest = if rest.is_empty() { rest } else { rest.strip_prefix(',').ok_or_else(wrong)?.trim_start() };
    }
    labels.sort();
    Ok(Series { metric, labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_as_in_prometheus() {
        let series = parse_series("a_total{ c = \"x, y\" ,b=\"1\"}").unwrap();
        assert_eq!(series.metric, "a_total");
        assert_eq!(series.labels, [("b".to_owned(), "1".to_owned()), ("c".to_owned(), "x, y".to_owned())]);
        assert_eq!(parse_series("a").unwrap().labels, []);
        for wrong in ["", "a b", "a{b}", "a{b=1}", "a{b=\"1\"", "a{b=\"1\" c=\"2\"}", "{b=\"1\"}"] {
            assert!(parse_series(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_in_every_usual_form() {
        let expected: Timestamp = "2024-03-15T00:00:00Z".parse().unwrap();
        for text in
            ["2024-03-15T00:00:00Z", "2024-03-15", "2024-03-15 00:00:00", "1710460800", "1710460800.0"]
        {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        assert_eq!(parse_time("yesterday"), None);
    }
}
