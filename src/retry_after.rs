//! How long a server asks to be left alone: `Retry-After`, RFC 9110, section 10.2.3.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The pause asked for, in seconds or until a date by the server's own clock; none where nothing readable is asked.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Ok(seconds) = text(headers, RETRY_AFTER)?.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let pause = date(headers, RETRY_AFTER)?.duration_since(date(headers, DATE)?);
    // A date that has passed asks for no pause.
    Some(Duration::try_from(pause).unwrap_or_default())
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text(headers, name)?).ok()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(value: &'static str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([
            (RETRY_AFTER, HeaderValue::from_static(value)),
            (DATE, HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT")),
        ]))
    }

    #[test]
    fn both_forms_of_the_header_are_read() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:29:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
