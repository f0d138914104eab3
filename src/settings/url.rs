//! Addresses of HTTP services.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

use super::leaf::Scalar;
use super::values::quoted;

/// An `http` or `https` URL without user and password, so that it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

const EXPECTED: &str = "a URL such as https://example.com:4318, without user and password";

impl HttpUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What was expected, without the text itself: it may be a secret.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if !matches!(scheme, "http" | "https")
            || authority.contains('@')
            || uri.host().is_none_or(str::is_empty)
            || uri.host() != Some(authority) && uri.port_u16().is_none()
        {
            return Err(EXPECTED);
        }
        Ok(Self(text.to_owned()))
    }

    /// A URL that is known to be right.
    pub(super) fn fixed(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is sent there is encrypted, or never leaves the machine.
    pub fn is_private(&self) -> bool {
        let Ok(uri) = self.0.parse::<Uri>() else { return false };
        uri.scheme_str() == Some("https") || uri.host().is_some_and(is_loopback)
    }

    /// This URL with `path` below it.
    pub(super) fn below(&self, path: &str) -> Self {
        Self(format!("{}/{path}", self.0.trim_end_matches('/')))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Scalar for HttpUrl {
    fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
        Self::read(text).map_err(str::to_owned)
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }

    fn shown(text: &str) -> bool {
        !text.contains('@')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_private_on_loopback_alone() {
        for url in
            ["https://hooks.slack.com/x", "http://127.0.0.1:9/x", "http://localhost", "http://[::1]:80/"]
        {
            assert!(HttpUrl::read(url).unwrap().is_private(), "{url}");
        }
        for url in ["http://hooks.slack.com", "http://127.0.0.1.example.com", "http://localhost.example.com"]
        {
            assert!(!HttpUrl::read(url).unwrap().is_private(), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_or_carries_a_password_is_refused() {
        for url in [
            "",
            "localhost:4317",
            "ftp://x",
            "http://",
            "/x",
            "http://127.0.0.1@example.com",
            "https://u:p@h",
            "http://127.0.0.1:99999",
            "http://h:",
        ] {
            assert!(HttpUrl::read(url).is_err(), "{url}");
        }
    }
}
