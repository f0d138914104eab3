//! Free-text label values: cut off at a number and a length, never silently.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::bound::Count;
use crate::told::Told;

/// The label value that stands for everything over a cap.
pub(crate) const OTHER: &str = "other";
/// Bytes of a label value; a longer one is counted under [`OTHER`].
pub(crate) const MAX_VALUE_BYTES: usize = 128;
/// Values of a free label other than `strategy`, whose cap is a setting.
pub(crate) const MAX_FREE_VALUES: usize = 256;

/// What is bound for each value of a free label.
#[derive(Debug)]
pub(crate) struct Capped<T> {
    what: &'static str,
    cap: usize,
    known: RwLock<HashMap<Box<str>, Arc<T>>>,
    over_cap: Count,
    told: Told,
}

impl<T> Capped<T> {
    /// `what` is the label of the counter of values folded into [`OTHER`].
    pub(crate) fn new(what: &'static str, cap: usize, over_cap: Count) -> Self {
        Self { what, cap, known: RwLock::default(), over_cap, told: Told::default() }
    }

    /// What is bound for the value; `bind` makes it the first time. Past the cap it is what is bound for `other`.
    pub(crate) fn get(&self, value: &str, bind: impl Fn(&str) -> T) -> Arc<T> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(value) {
            return Arc::clone(known);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(value) {
            return Arc::clone(known);
        }
        let within = known.len() - usize::from(known.contains_key(OTHER)) < self.cap;
        if value == OTHER || (within && value.len() <= MAX_VALUE_BYTES) {
            let bound = Arc::new(bind(value));
            known.insert(value.into(), Arc::clone(&bound));
            return bound;
        }
        let other = Arc::clone(known.entry(OTHER.into()).or_insert_with(|| Arc::new(bind(OTHER))));
        drop(known);
        self.over_cap.increment();
        self.told.once(|| {
            let hint = if self.what == "strategy" {
                "counted under other; raise metrics.max_strategies, or use fewer and shorter names"
            } else {
                "counted under other; use fewer and shorter names"
            };
            let shown: String = value.chars().take(MAX_VALUE_BYTES).collect();
            tracing::warn!(
                target: "trading_telemetry",
                what = self.what,
                value = shown,
                cap = self.cap,
                max_bytes = MAX_VALUE_BYTES,
                hint,
                "metric_label_over_cap"
            );
        });
        other
    }

    /// Everything bound so far.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&str, &T)) {
        for (value, bound) in &*self.known.read().unwrap_or_else(PoisonError::into_inner) {
            each(value, bound);
        }
    }
}
