//! What the health checks know of a component and the metrics do not say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ComponentFacts {
    /// Whether its loss would page now: it is critical, and may not be away.
    pub(crate) pages: bool,
    /// How often it is checked; `None` where it only reports.
    pub(crate) interval: Option<Duration>,
    /// Why it was down last, without secrets.
    pub(crate) last_error: Option<String>,
}

/// Asks for what is known of a component, by its name.
#[derive(Clone)]
pub(crate) struct Components(Arc<dyn Fn(&str) -> ComponentFacts + Send + Sync>);

impl Components {
    pub(crate) fn new(know: impl Fn(&str) -> ComponentFacts + Send + Sync + 'static) -> Self {
        Self(Arc::new(know))
    }

    pub(super) fn know(&self, component: &str) -> ComponentFacts {
        (self.0)(component)
    }
}

impl fmt::Debug for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Components").finish_non_exhaustive()
    }
}
