//! What the client asked for: the format by `Accept`, gzip by `Accept-Encoding`, families by `name[]`.

use super::{Format, NameFilter};

impl Format {
    /// The format that an `Accept` header prefers; text where there is none, or where it names neither.
    ///
    /// Of equal weights the one named more precisely wins, then the one named first.
    pub(crate) fn from_accept(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or("*/*");
        let text = preference(accept, "text", "plain", &["", "0.0.4"]);
        let openmetrics = preference(accept, "application", "openmetrics-text", &["", "1.0.0"]);
        if openmetrics.weight > 0 && openmetrics > text { Self::OpenMetrics } else { Self::Text }
    }
}

/// Ordered by what counts first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    weight: u16,
    precision: u8,
    first: std::cmp::Reverse<usize>,
}

const UNNAMED: Preference = Preference { weight: 0, precision: 0, first: std::cmp::Reverse(usize::MAX) };

/// How much a header wants a media type; the most precise of its ranges decides.
fn preference(accept: &str, kind: &str, subtype: &str, versions: &[&str]) -> Preference {
    let mut best: Option<Preference> = None;
    for (position, range) in accept.split(',').enumerate() {
        let mut fields = range.split(';').map(str::trim);
        let Some((range_kind, range_subtype)) = fields.next().and_then(|media| media.split_once('/')) else {
            continue;
        };
        let precision = match (range_kind.trim(), range_subtype.trim()) {
            (left, right) if left.eq_ignore_ascii_case(kind) && right.eq_ignore_ascii_case(subtype) => 3,
            (left, "*") if left.eq_ignore_ascii_case(kind) => 2,
            ("*", "*") => 1,
            _ => continue,
        };
        let (mut weight, mut version) = (1000, "");
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            match key.trim() {
                "q" | "Q" => weight = thousandths(value.trim()),
                "version" => version = value.trim().trim_matches('"'),
                _ => {}
            }
        }
        if precision == 3 && !versions.contains(&version) {
            continue;
        }
        let this = Preference { weight, precision, first: std::cmp::Reverse(position) };
        let replaces = |best: Preference| {
            precision > best.precision || (precision == best.precision && weight > best.weight)
        };
        if best.is_none_or(replaces) {
            best = Some(this);
        }
    }
    best.unwrap_or(UNNAMED)
}

/// A q-value; one that is none counts as 0, since whoever sent it did not ask for anything clearly.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
fn thousandths(q: &str) -> u16 {
    match q.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => (value * 1000.0).round() as u16,
        _ => 0,
    }
}

/// Whether an `Accept-Encoding` header takes gzip, at whatever weight above 0.
pub(crate) fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let (mut named, mut any) = (None, None);
    for coding in accept_encoding.unwrap_or_default().split(',') {
        let mut fields = coding.split(';').map(str::trim);
        let name = fields.next().unwrap_or_default();
        let weight = fields
            .filter_map(|field| field.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
            .map_or(1000, |(_, q)| thousandths(q.trim()));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            named = named.max(Some(weight));
        } else if name == "*" {
            any = any.max(Some(weight));
        }
    }
    named.or(any).is_some_and(|weight| weight > 0)
}

impl NameFilter {
    /// The families that the `name[]` parameters of a query ask for; `None` where there are none.
    pub(crate) fn from_query(query: Option<&str>) -> Option<Self> {
        let names: std::collections::BTreeSet<Box<str>> = query?
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(key, _)| decode(key) == "name[]")
            .map(|(_, value)| decode(value).into_boxed_str())
            .collect();
        (!names.is_empty()).then_some(Self(names))
    }
}

/// Undoes `application/x-www-form-urlencoded`; what is not valid there stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digit = |offset: usize| {
            bytes
                .get(at + offset)
                .and_then(|digit| char::from(*digit).to_digit(16))
                .and_then(|digit| u8::try_from(digit).ok())
        };
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push(high * 16 + low);
                at += 3;
            }
            (b'+', ..) => {
                plain.push(b' ');
                at += 1;
            }
            _ => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_by_weight() {
        use Format::{OpenMetrics, Text};
        let cases = [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("text/html,*/*;q=0.8"), Text),
            (Some("application/json"), Text),
            (Some("application/openmetrics-text"), OpenMetrics),
            (Some("APPLICATION/OpenMetrics-Text; version=1.0.0; charset=utf-8"), OpenMetrics),
            (Some("application/openmetrics-text;version=\"1.0.0\""), OpenMetrics),
            (Some("application/openmetrics-text;version=2.0.0"), Text),
            (Some("application/openmetrics-text;version=0.0.1"), Text),
            (Some("application/openmetrics-text;q=0"), Text),
            (Some("application/openmetrics-text;q=0.3,text/plain;q=0.7"), Text),
            (Some("text/plain;q=0.3,application/openmetrics-text;q=0.7"), OpenMetrics),
            (Some("application/openmetrics-text, */*"), OpenMetrics),
            (Some("application/openmetrics-text;q=0.5, */*;q=0.9"), Text),
            (Some("text/plain, application/openmetrics-text"), Text),
            (Some("application/openmetrics-text, text/plain"), OpenMetrics),
            (Some("text/plain;q=0, */*;q=0.1"), OpenMetrics),
            (Some("application/openmetrics-text;q=nonsense,text/plain;q=0.1"), Text),
            // Prometheus 2.42 and 3.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::from_accept(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn gzip_is_used_where_it_is_offered_above_zero() {
        for yes in
            ["gzip", "GZIP", "deflate, gzip;q=0.1", "*", "x-gzip", "gzip;q=1, *;q=0", "br;q=1 , gzip ; q=0.5"]
        {
            assert!(accepts_gzip(Some(yes)), "{yes}");
        }
        for no in ["", "deflate", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "identity", "gzipped"] {
            assert!(!accepts_gzip(Some(no)), "{no}");
        }
        assert!(!accepts_gzip(None));
    }

    #[test]
    fn names_come_out_of_the_query() {
        let names =
            |query| NameFilter::from_query(Some(query)).map(|names| names.0.into_iter().collect::<Vec<_>>());
        assert_eq!(NameFilter::from_query(None), None);
        assert_eq!(names(""), None);
        assert_eq!(names("name=x&foo[]=y"), None);
        assert_eq!(names("name[]=b&name%5B%5D=a&other=1"), Some(vec!["a".into(), "b".into()]));
        // A comma is part of a name that no family has, as in Python's client.
        assert_eq!(names("name[]=a,b"), Some(vec!["a,b".into()]));
        assert_eq!(names("name[]=a%2Bb+c%zz%4"), Some(vec!["a+b c%zz%4".into()]));
    }
}
