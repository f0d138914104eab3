//! Saying a thing once.

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
