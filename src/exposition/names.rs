//! OpenTelemetry's names and units in Prometheus' alphabet, by OpenTelemetry's "Prometheus and `OpenMetrics`
//! Compatibility" page.

use std::borrow::Cow;

/// What the suffixes of a name depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// `_total`, and never `_ratio`: libraries give the unit 1 to counts of things.
    Total,
    /// `_ratio` for the unit 1.
    Ratio,
    /// The unit alone.
    Unit,
}

/// A family's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// In text 0.0.4: a counter's has `_total`.
    pub(super) text: String,
    /// In `OpenMetrics`, where a counter's `_total` is on its samples alone.
    pub(super) openmetrics: String,
    /// The unit, where the `OpenMetrics` name ends in it.
    pub(super) unit: Option<String>,
}

/// Names the family of an instrument. A suffix is appended only where it is absent, the unit before the type.
pub(super) fn family_names(instrument: &str, unit: &str, suffix: Suffix) -> Names {
    let mut base = sanitize(instrument, true);
    if suffix == Suffix::Total
        && let Some(stem) = base.strip_suffix("_total").filter(|stem| !stem.is_empty())
    {
        base.truncate(stem.len());
    }
    let unit = unit_name(unit).filter(|unit| unit != "ratio" || suffix == Suffix::Ratio);
    if let Some(unit) = &unit
        && !ends_in_unit(&base, unit)
    {
        base.push('_');
        base.push_str(unit);
    }
    let text = if suffix == Suffix::Total { format!("{base}_total") } else { base.clone() };
    // A name that is its unit and nothing else has no unit in OpenMetrics: Prometheus refuses the whole scrape for it.
    let unit = unit.filter(|unit| base.len() > unit.len());
    Names { text, openmetrics: base, unit: unit.map(Cow::into_owned) }
}

/// The only family that `name` can be the name of on a text scrape; another name than that is on no scrape.
pub(crate) fn on_scrape(name: &str, is_counter: bool) -> String {
    family_names(name, "", if is_counter { Suffix::Total } else { Suffix::Unit }).text
}

fn ends_in_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit).is_some_and(|stem| stem.is_empty() || stem.ends_with('_'))
}

/// A label's name: invalid characters become `_`, several in a row one. `le` belongs to a histogram's buckets, so a
/// user's own is renamed as Prometheus renames what collides with a label of its own.
pub(crate) fn sanitize_label(key: &str, histogram: bool) -> String {
    let name = sanitize(key, false);
    if histogram && name == "le" { "exported_le".to_owned() } else { name }
}

fn sanitize(name: &str, colons: bool) -> String {
    let mut clean = String::with_capacity(name.len() + 1);
    for letter in name.chars() {
        if letter.is_ascii_digit() && clean.is_empty() {
            clean.push('_');
        }
        if letter.is_ascii_alphanumeric() || (colons && letter == ':') {
            clean.push(letter);
        } else if !clean.ends_with('_') {
            clean.push('_');
        }
    }
    if clean.is_empty() {
        clean.push('_');
    }
    clean
}

/// Prometheus' name of a UCUM unit: `ms` to `milliseconds`, `By/s` to `bytes_per_second`, `{packet}` to nothing.
fn unit_name(unit: &str) -> Option<Cow<'static, str>> {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let main = part(main, main_unit);
    let per = part(per, per_unit);
    match (main, per) {
        // "1/s" is per second: nothing is counted that has a name.
        (None, Some(per)) => Some(format!("per_{per}").into()),
        (Some(main), Some(per)) if main == "ratio" => Some(format!("per_{per}").into()),
        (Some(main), Some(per)) => Some(format!("{main}_per_{per}").into()),
        (main, None) => main,
    }
}

/// One side of a unit. What stands in braces is an annotation; what is not known is taken as it is.
fn part(unit: &str, known: fn(&str) -> Option<&'static str>) -> Option<Cow<'static, str>> {
    let mut bare = String::with_capacity(unit.len());
    let mut depth = 0_usize;
    for letter in unit.trim().chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => bare.push(letter),
            _ => {}
        }
    }
    if bare.is_empty() {
        return None;
    }
    if let Some(name) = known(&bare) {
        return Some(name.into());
    }
    let letters = bare.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    let words: String = letters.collect();
    let words: Vec<&str> = words.split('_').filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join("_").into())
}

fn main_unit(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" | "B" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" | "kBy" | "KB" => "kilobytes",
        "MBy" | "MB" => "megabytes",
        "GBy" | "GB" => "gigabytes",
        "TBy" | "TB" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "ratio",
        "%" => "percent",
        _ => return None,
    })
}

fn per_unit(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "s" => "second",
        "m" | "min" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_appended_only_where_absent() {
        let cases = [
            ("http.requests", "", Suffix::Total, "http_requests_total"),
            ("http.requests_total", "", Suffix::Total, "http_requests_total"),
            ("http.requests.total", "{request}", Suffix::Total, "http_requests_total"),
            ("cpu.time", "s", Suffix::Total, "cpu_time_seconds_total"),
            ("cpu_seconds_total", "s", Suffix::Total, "cpu_seconds_total"),
            ("cpu_total", "s", Suffix::Total, "cpu_seconds_total"),
            ("jobs", "1", Suffix::Total, "jobs_total"),
            ("_total", "", Suffix::Total, "_total_total"),
            ("http.server.request.duration", "s", Suffix::Unit, "http_server_request_duration_seconds"),
            ("latency_seconds", "s", Suffix::Unit, "latency_seconds"),
            ("seconds_before_birthday", "s", Suffix::Unit, "seconds_before_birthday_seconds"),
            ("milliseconds", "s", Suffix::Unit, "milliseconds_seconds"),
            ("seconds", "s", Suffix::Unit, "seconds"),
            ("utilization", "1", Suffix::Ratio, "utilization_ratio"),
            ("active", "1", Suffix::Unit, "active"),
            ("hit_ratio", "1", Suffix::Ratio, "hit_ratio"),
            ("io", "By/s", Suffix::Unit, "io_bytes_per_second"),
            ("rate", "1/s", Suffix::Ratio, "rate_per_second"),
            ("rate", "{request}/min", Suffix::Unit, "rate_per_minute"),
            ("queue", "packets", Suffix::Unit, "queue_packets"),
            ("queue", "{packet}", Suffix::Unit, "queue"),
            ("load", "%", Suffix::Unit, "load_percent"),
            ("odd", "°C (wet)", Suffix::Unit, "odd_C_wet"),
        ];
        for (name, unit, suffix, expected) in cases {
            assert_eq!(family_names(name, unit, suffix).text, expected, "{name} in {unit}");
        }
    }

    #[test]
    fn the_unit_line_names_what_the_family_ends_in() {
        let names = family_names("cpu.time", "s", Suffix::Total);
        assert_eq!(
            (names.openmetrics.as_str(), names.unit.as_deref()),
            ("cpu_time_seconds", Some("seconds"))
        );
        assert_eq!(family_names("jobs", "1", Suffix::Total).unit, None);
        assert_eq!(family_names("seconds", "s", Suffix::Total).unit, None);
        assert_eq!(family_names("ratio", "1", Suffix::Ratio).unit, None);
        assert_eq!(family_names("_seconds", "s", Suffix::Unit).unit.as_deref(), Some("seconds"));
    }

    #[test]
    fn names_keep_to_the_alphabet() {
        assert_eq!(family_names("nam€..with-/odd", "", Suffix::Unit).text, "nam_with_odd");
        assert_eq!(family_names("1st", "", Suffix::Unit).text, "_1st");
        assert_eq!(family_names("a:b", "", Suffix::Unit).text, "a:b");
        assert_eq!(sanitize_label("http.request.method", false), "http_request_method");
        assert_eq!(sanitize_label("a:b__c", false), "a_b_c");
        assert_eq!(sanitize_label("9lives", false), "_9lives");
        assert_eq!(sanitize_label("", false), "_");
        assert_eq!(sanitize_label("le", true), "exported_le");
        assert_eq!(sanitize_label("le", false), "le");
    }
}
