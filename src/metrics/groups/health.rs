//! Health of the components that the system depends on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::metrics::bound::Level;
use crate::metrics::caps::{Capped, MAX_FREE_VALUES};
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::latch::{Latch, Latched, Waker, Worse};
use crate::metrics::registry::Registry;

const UP: &Instrument = catalog::named("trading_component_up");
const DURATION: &Instrument = catalog::named("trading_health_check_duration_seconds");
const LAST_SUCCESS: &Instrument = catalog::named("trading_health_check_last_success_timestamp_seconds");

/// The health families of all components.
#[derive(Debug)]
pub(crate) struct Components {
    each: Capped<Component>,
    registry: Arc<Registry>,
    waker: Arc<Waker>,
}

/// The health families of one component. Its series appear when they are first recorded: there is no start-up 0 that
/// could be taken for an outage.
#[derive(Debug)]
pub(crate) struct Component {
    name: Box<str>,
    latch: Latch,
    reported: AtomicBool,
    registry: Arc<Registry>,
    up: OnceLock<Level>,
    duration: OnceLock<Level>,
    last_success: OnceLock<Level>,
    waker: Arc<Waker>,
}

impl Components {
    pub(crate) fn new(registry: &Arc<Registry>, waker: &Arc<Waker>) -> Self {
        let over_cap = registry.over_cap("component");
        Self {
            each: Capped::new("component", MAX_FREE_VALUES, over_cap),
            registry: Arc::clone(registry),
            waker: Arc::clone(waker),
        }
    }

    pub(crate) fn component(&self, name: &str) -> Arc<Component> {
        self.each.get(name, |name| Component {
            name: name.into(),
            latch: Latch::new(Worse::Lower),
            reported: AtomicBool::new(false),
            registry: Arc::clone(&self.registry),
            up: OnceLock::new(),
            duration: OnceLock::new(),
            last_success: OnceLock::new(),
            waker: Arc::clone(&self.waker),
        })
    }

    /// The state and the worst state since this was last called of each component, by name.
    pub(crate) fn take_latched(&self, mut each: impl FnMut(&'static Instrument, &str, Latched, bool)) {
        self.each.for_each(|name, component| {
            if let Some(latched) = component.latch.take() {
                each(UP, name, latched, component.reported.load(Ordering::Relaxed));
            }
        });
    }
}

impl Component {
    /// Sets whether the component is up. `reported` says that its owner did, not a poll. A change wakes the alerts, and so
    /// does an owner that confirms what a poll found: it need not be waited for any longer.
    pub(crate) fn up(&self, up: bool, reported: bool) {
        let was_reported = self.reported.swap(reported, Ordering::Relaxed);
        let is_confirmed = reported && !was_reported;
        let value = f64::from(u8::from(up));
        self.up.get_or_init(|| self.registry.level(UP, &[&self.name])).record(value);
        if self.latch.set(value) || is_confirmed {
            self.waker.wake();
        }
    }

    /// Records how long a check took, in seconds.
    pub(crate) fn check_duration(&self, seconds: f64) {
        self.duration.get_or_init(|| self.registry.level(DURATION, &[&self.name])).record(seconds);
    }

    /// Records when a check last succeeded, in seconds since the Unix epoch.
    pub(crate) fn last_success(&self, unix_seconds: f64) {
        self.last_success
            .get_or_init(|| self.registry.level(LAST_SUCCESS, &[&self.name]))
            .record(unix_seconds);
    }
}
