//! Saying a thing once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether something was told.
#[derive(Debug, Default)]
pub(crate) struct Told(AtomicBool);

impl Told {
    /// Calls `tell` the first time.
    #[cold]
    pub(crate) fn once(&self, tell: impl FnOnce()) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tell();
        }
    }
}

/// Names come from the service, so what is remembered of them is bounded; past it, silence is the lesser evil.
const MAX_TOLD: usize = 1_000;

/// What was told of each name.
#[derive(Debug, Default)]
pub(crate) struct ToldOf(HashSet<(String, &'static str)>);

impl ToldOf {
    /// Calls `tell` the first time for this name and reason.
    pub(crate) fn once(&mut self, name: &str, reason: &'static str, tell: impl FnOnce()) {
        if self.0.len() < MAX_TOLD && self.0.insert((name.to_owned(), reason)) {
            tell();
        }
    }
}
