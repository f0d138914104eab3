//! Takes secrets out of texts: drivers put URLs, and servers what they were sent, into their errors.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

/// A longer text says no more.
const MAX_CHARS: usize = 300;
/// More than that is not even read: a megabyte takes milliseconds.
const MAX_READ: usize = 16 * 1024;
const REDACTED: &str = "[REDACTED]";
/// Names whose value is a secret wherever they stand.
const SECRET_NAMES: [&str; 10] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "authorization",
];
/// What may stand before such a value and is none of it.
const PREFIXES: [&str; 3] = ["Some(", "Bearer ", "Basic "];

/// The secrets of one check.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    /// What is secret in a URL: the password, or a user that stands alone (a token), and the values of the query; as they
    /// stand there and decoded.
    pub(super) fn of_url(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let user = rest[..end].rsplit_once('@').map(|(user, _)| user);
        let password = user.map(|user| user.split_once(':').map_or(user, |(_, password)| password));
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let query = query.split(['&', '#']).filter_map(|pair| pair.split_once('='));
        // sslmode=require is no secret, and neither is a word that every other error holds.
        let values = query.filter(|(name, _)| is_secret_name(name)).map(|(_, value)| value);
        let found = password
            .into_iter()
            .chain(values)
            .flat_map(|text| [Cow::Borrowed(text), percent_decode_str(text).decode_utf8_lossy()]);
        found.fold(Self::default(), |secrets, text| secrets.with(Some(&*text)))
    }

    /// And this one, where there is one.
    pub(super) fn with(mut self, secret: Option<&str>) -> Self {
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else { return self };
        if self.0.iter().all(|known| known.expose_secret() != secret) {
            self.0.push(SecretString::from(secret));
            // A secret may be a part of another.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.expose_secret().len()));
        }
        self
    }

    /// The text in one line, at most 300 characters, without these secrets and without what looks like one.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text[..text.floor_char_boundary(MAX_READ)].to_owned();
        for secret in &self.0 {
            text = text.replace(secret.expose_secret(), REDACTED);
        }
        let text = without_values(&without_users(&text));
        let line: String =
            text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let line = line.trim();
        match line.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.to_owned(),
        }
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

/// `scheme://user:password@host` without user and password.
fn without_users(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let ends_at = |ends: &str| {
            let end = after.find(|letter: char| letter.is_whitespace() || ends.contains(letter));
            end.unwrap_or(after.len())
        };
        let (mut authority, mut tail) = after.split_at(ends_at("/?#\"'<>)"));
        if has_no_port(authority) {
            // The password holds what should be escaped in it.
            (authority, tail) = after.split_at(ends_at("\"'<>)"));
        }
        let host = authority.rsplit_once('@');
        let _ = match host {
            Some((_, host)) => write!(out, "{before}://{REDACTED}@{host}"),
            None => write!(out, "{before}://{authority}"),
        }; // into a string: cannot fail
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Whether what follows the host is no number, so that it is no host.
fn has_no_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').filter(|_| !authority.contains('@')).map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && !port.ends_with(']') && port.parse::<u16>().is_err())
}

/// `password=…`, `"password": "…"` and their like without the value.
fn without_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let name = before[..at].trim_end().trim_end_matches(['"', '\'']);
        let name = name.rsplit(|letter: char| !letter.is_alphanumeric() && !"_-".contains(letter)).next();
        rest = after;
        if name.is_some_and(is_secret_name) {
            let value = after.trim_start();
            let value = PREFIXES.iter().find_map(|prefix| value.strip_prefix(prefix)).unwrap_or(value);
            let length = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |length| length + 2),
                _ => value
                    .find(|letter: char| letter.is_whitespace() || "&,;)}\"'".contains(letter))
                    .unwrap_or(value.len()),
            };
            out.push_str(REDACTED);
            rest = &value[length..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neither_urls_nor_values_tell_a_password() {
        let secrets = Secrets::of_url("postgres://trader:p%40ss@db:5432/trading?sslmode=require");
        for text in [
            "cannot connect to postgres://trader:p%40ss@db:5432/trading",
            "unknown command AUTH, with args beginning with: 'p@ss'",
            "invalid: host=db password=p%40ss user=trader",
        ] {
            let clean = secrets.clean(text);
            assert!(!clean.contains("p%40ss") && !clean.contains("p@ss"), "{clean}");
        }
        assert_eq!(secrets.clean("no certificate, sslmode=require"), "no certificate, sslmode=require");
        let unknown = Secrets::default();
        assert_eq!(
            unknown.clean(
                "pool of postgres://trader:hu/sh@db:5432/t at http://[::1]:9/a@b http://[::1]/a@b is closed"
            ),
            "pool of postgres://[REDACTED]@db:5432/t at http://[::1]:9/a@b http://[::1]/a@b is closed"
        );
        assert_eq!(
            unknown.clean(
                "GET https://u:hush@host/x?token=hush&a=b failed,\n password = 'hu sh' \"redis://:hush@h\""
            ),
            "GET https://[REDACTED]@host/x?token=[REDACTED]&a=b failed,  password =[REDACTED] \"redis://[REDACTED]@h\""
        );
    }

    #[test]
    fn values_are_masked_in_json_in_headers_and_in_what_debug_prints() {
        for (text, clean) in [
            (r#"{"user": "u", "password": "hush"}"#, r#"{"user": "u", "password":[REDACTED]}"#),
            ("{'api-key':'hush','a':1}", "{'api-key':[REDACTED],'a':1}"),
            (r#"Config { password: Some("hu sh"), port: 1 }"#, "Config { password:[REDACTED]), port: 1 }"),
            ("Authorization: Bearer hush\r\nHost: h", "Authorization:[REDACTED]  Host: h"),
            ("Pwd=hush;Server=db", "Pwd=[REDACTED];Server=db"),
            ("no session at h:1: timed out", "no session at h:1: timed out"),
            (
                "password authentication failed for user \"u\"",
                "password authentication failed for user \"u\"",
            ),
        ] {
            assert_eq!(Secrets::default().clean(text), clean);
        }
    }

    #[test]
    fn a_token_in_place_of_a_user_is_one() {
        assert_eq!(Secrets::of_url("https://t0ken@host/").clean("bad t0ken"), "bad [REDACTED]");
        assert_eq!(Secrets::of_url("redis://host:6379/0").clean("host 6379"), "host 6379");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_password_survives(text in any::<String>(), password in "[a-z0-9]{9,16}") {
            let secrets = Secrets::of_url(&format!("redis://:{password}@127.0.0.1:1/"));
            let clean = secrets.clean(&format!("{text}{password} {text} redis://u:{password}@h/{text}"));
            prop_assert!(!clean.contains(&password));
            prop_assert!(clean.chars().count() <= MAX_CHARS + 1);
        }
    }
}
