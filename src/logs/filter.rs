//! Which events become lines; changeable while the service runs.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tracing::subscriber::Interest;
use tracing::{Metadata, callsite};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter};

use super::line::{ALERT_TARGET, AUDIT_TARGET};
use crate::clock::Clock;
use crate::lock::lock;
use crate::settings::logging_filter;

/// A filter in the manner of `RUST_LOG` (`info,my_crate::feed=debug,hyper=off`), as a handle: clones share the setting.
///
/// It decides about events and never about spans, so that an error line keeps the ids of the order around it, and it
/// lets every audit line and every alert pass. Directives about spans or fields (`[order{id}]=debug`) are refused. While it
/// stands still it costs nothing beyond what `tracing` remembers per call site; a change rebuilds that memory.
#[derive(Clone, Debug)]
pub struct EventFilter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    current: RwLock<Targets>,
    spec: Mutex<Spec>,
    temporary: AtomicBool,
}

#[derive(Debug)]
struct Spec {
    lasting: String,
    /// Another filter, until this reading of the monotonic clock.
    temporary: Option<(String, Duration)>,
}

/// A filter that cannot be read.
#[derive(Clone, Debug)]
pub struct FilterError {
    spec: String,
    cause: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "log filter {:?} is not understood ({}), write levels per target such as info,my_crate::feed=debug,hyper=off",
            self.spec, self.cause
        )
    }
}

impl std::error::Error for FilterError {}

impl EventFilter {
    /// A filter that lets `spec` pass.
    ///
    /// # Errors
    /// When `spec` is empty, has an unknown level, or speaks of spans or fields.
    pub fn new(spec: &str, clock: Arc<dyn Clock>) -> Result<Self, FilterError> {
        let targets = parse(spec)?;
        let spec = Spec { lasting: spec.to_owned(), temporary: None };
        let shared = Shared {
            clock,
            current: RwLock::new(targets),
            spec: Mutex::new(spec),
            temporary: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Replaces the filter for good.
    ///
    /// # Errors
    /// As [`new`](Self::new); the filter then stays as it was.
    pub fn set(&self, spec: &str) -> Result<(), FilterError> {
        let targets = parse(spec)?;
        let mut current = lock(&self.shared.spec);
        *current = Spec { lasting: spec.to_owned(), temporary: None };
        self.shared.temporary.store(false, Relaxed);
        self.apply(targets);
        Ok(())
    }

    /// Replaces the filter for a time, after which the one that was set for good returns by itself.
    ///
    /// # Errors
    /// As [`new`](Self::new); the filter then stays as it was.
    pub fn set_for(&self, spec: &str, time: Duration) -> Result<(), FilterError> {
        let targets = parse(spec)?;
        let mut current = lock(&self.shared.spec);
        let until = self.shared.clock.monotonic().saturating_add(time);
        current.temporary = Some((spec.to_owned(), until));
        self.shared.temporary.store(true, Relaxed);
        self.apply(targets);
        Ok(())
    }

    /// The filter in force, as it was written.
    pub fn spec(&self) -> String {
        let spec = lock(&self.shared.spec);
        spec.temporary.as_ref().map_or(&spec.lasting, |(spec, _)| spec).clone()
    }

    /// Ends a filter whose time is over; the one that returns. One atomic load while there is none.
    pub(super) fn revert_if_due(&self) -> Option<String> {
        if !self.shared.temporary.load(Relaxed) {
            return None;
        }
        let mut spec = lock(&self.shared.spec);
        let (_, until) = spec.temporary.as_ref()?;
        if self.shared.clock.monotonic() < *until {
            return None;
        }
        spec.temporary = None;
        self.shared.temporary.store(false, Relaxed);
        let lasting = spec.lasting.clone();
        // It was read once before.
        self.apply(parse(&lasting).unwrap_or_default());
        Some(lasting)
    }

    /// The caller holds the lock of `spec`, so that two changes cannot mix.
    fn apply(&self, targets: Targets) {
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = targets;
        callsite::rebuild_interest_cache();
    }

    fn current(&self) -> RwLockReadGuard<'_, Targets> {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lets_pass(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
            || [AUDIT_TARGET, ALERT_TARGET].contains(&metadata.target())
            || self.current().would_enable(metadata.target(), metadata.level())
    }
}

impl<S> Filter<S> for EventFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.lets_pass(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.lets_pass(metadata) { Interest::always() } else { Interest::never() }
    }
}

fn parse(spec: &str) -> Result<Targets, FilterError> {
    logging_filter(spec).map(quiet).map_err(|cause| FilterError { spec: spec.to_owned(), cause })
}

/// OpenTelemetry's crates log how they come and go at info: of them only what is wrong passes, unless the filter names
/// them.
fn quiet(targets: Targets) -> Targets {
    const THEIRS: &str = "opentelemetry";
    if targets.iter().any(|(named, _)| THEIRS.starts_with(named)) {
        return targets;
    }
    // `LevelFilter` orders by how much passes.
    let level = targets.default_level().map_or(LevelFilter::OFF, |level| level.min(LevelFilter::WARN));
    targets.with_target(THEIRS, level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn of_opentelemetrys_own_lines_only_what_is_wrong_passes_unless_they_are_named() {
        let passes =
            |spec: &str, target: &str, level: Level| parse(spec).unwrap().would_enable(target, &level);
        assert!(!passes("info", "opentelemetry_sdk", Level::INFO));
        assert!(!passes("trace,desk=debug", "opentelemetry-otlp", Level::INFO));
        assert!(passes("info", "opentelemetry_sdk", Level::WARN));
        assert!(!passes("error", "opentelemetry_sdk", Level::WARN), "not more than the rest");
        assert!(!passes("desk=debug", "opentelemetry_sdk", Level::ERROR));
        assert!(passes("info,opentelemetry=debug", "opentelemetry_sdk", Level::DEBUG));
        assert!(passes("info,opentelemetry_sdk=info", "opentelemetry_sdk", Level::INFO));
        assert!(!passes("info,opentelemetry_sdk=info", "opentelemetry-otlp", Level::INFO), "not named");
    }
}
