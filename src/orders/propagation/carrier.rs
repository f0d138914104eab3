//! What headers and string maps have in common.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};

/// Something that a context can be read from. Maps are asked for lower-case names; headers and pairs for any case.
pub trait Inbound {
    /// The values under `name`, in their order.
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str>;
}

/// Something that a context can be written to.
pub trait Outbound {
    /// Puts `value` under `name`, in place of what was there.
    fn put(&mut self, name: &'static str, value: String);
}

impl Inbound for HeaderMap {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }
}

impl Outbound for HeaderMap {
    fn put(&mut self, name: &'static str, value: String) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.insert(name, value);
        }
    }
}

impl<S: BuildHasher> Inbound for HashMap<String, String, S> {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.get(name).map(String::as_str).into_iter()
    }
}

impl<S: BuildHasher> Outbound for HashMap<String, String, S> {
    fn put(&mut self, name: &'static str, value: String) {
        self.insert(name.to_owned(), value);
    }
}

impl Inbound for BTreeMap<String, String> {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.get(name).map(String::as_str).into_iter()
    }
}

impl Outbound for BTreeMap<String, String> {
    fn put(&mut self, name: &'static str, value: String) {
        self.insert(name.to_owned(), value);
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Inbound for [(K, V)] {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let named = move |(key, _): &&(K, V)| key.as_ref().eq_ignore_ascii_case(name);
        self.iter().filter(named).map(|(_, value)| value.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Inbound for Vec<(K, V)> {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.as_slice().values(name)
    }
}

impl Outbound for Vec<(String, String)> {
    fn put(&mut self, name: &'static str, value: String) {
        self.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.push((name.to_owned(), value));
    }
}

pub(super) struct FromExtractor<'a>(pub(super) &'a dyn Extractor);

impl Inbound for FromExtractor<'_> {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.0.get_all(name).unwrap_or_default().into_iter()
    }
}

pub(super) struct IntoInjector<'a>(pub(super) &'a mut dyn Injector);

impl Outbound for IntoInjector<'_> {
    fn put(&mut self, name: &'static str, value: String) {
        self.0.set(name, value);
    }
}
