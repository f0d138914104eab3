//! What the scrape, the alert rules and OTLP read: the catalogue's series, and the service's own instruments through the
//! one reader of their provider.

use std::sync::{Arc, Mutex};

use opentelemetry_sdk::metrics::data::ResourceMetrics;

use super::collected::{Catalogue, Collected, SeriesExemplars};
use super::exemplars::Exemplar;
use super::series::Series;
use crate::lock::lock;
use crate::metrics::{ForeignProvider, Metrics};

/// Both providers as one source of readings.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    metrics: Metrics,
    foreign: ForeignProvider,
    memory: Arc<Mutex<Memory>>,
}

/// What was collected last, whose room the next collection takes again.
#[derive(Debug, Default)]
struct Memory {
    catalogue: Arc<Catalogue>,
    foreign: Arc<ResourceMetrics>,
}

/// Collects into `room`, unless somebody still reads what is in it.
fn collect_into<T: Default>(mut room: Arc<T>, collect: impl FnOnce(&mut T)) -> Arc<T> {
    if let Some(kept) = Arc::get_mut(&mut room) {
        collect(kept);
        return room;
    }
    let mut fresh = T::default();
    collect(&mut fresh);
    Arc::new(fresh)
}

impl Readings {
    pub(crate) fn new(metrics: Metrics, foreign: ForeignProvider) -> Self {
        Self { metrics, foreign, memory: Arc::default() }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Collects the service's own instruments, within the deadline that its callbacks have.
    pub(crate) fn collect_foreign(&self) -> Option<ResourceMetrics> {
        let mut foreign = ResourceMetrics::default();
        self.foreign.collect(&mut foreign).ok().map(|()| foreign)
    }

    /// Collects both, for a scrape. Where the service's own instruments cannot be collected they are left out.
    pub(crate) fn collect(&self) -> Collected {
        let registry = Arc::clone(self.metrics.registry());
        // No lock is held while a service's callbacks run.
        let room = std::mem::take(&mut *lock(&self.memory));
        let catalogue = collect_into(room.catalogue, |into| registry.collect(into));
        let mut collected = true;
        let foreign = collect_into(room.foreign, |into| collected = self.foreign.collect(into).is_ok());
        *lock(&self.memory) = Memory { catalogue: Arc::clone(&catalogue), foreign: Arc::clone(&foreign) };
        let published = Arc::clone(&registry);
        Collected {
            catalogue,
            resource: registry.resource().clone(),
            foreign: collected.then_some(foreign),
            published: Arc::new(move |row| published.is_published(row.group)),
            exemplars: registry,
        }
    }

    /// Collects the catalogue alone, into memory that the caller keeps.
    pub(crate) fn collect_catalogue(&self, into: &mut Catalogue) {
        self.metrics.registry().collect(into);
    }

    /// Both as the SDK holds them, for OTLP. What cannot be collected is left out.
    pub(crate) fn export(&self) -> Vec<ResourceMetrics> {
        let mut catalogue = ResourceMetrics::default();
        let catalogue = self.metrics.registry().export(&mut catalogue).ok().map(|()| catalogue);
        catalogue.into_iter().chain(self.collect_foreign()).collect()
    }
}

impl SeriesExemplars for Series {
    fn slot(&self, index: usize) -> Option<Exemplar> {
        self.exemplar(index)
    }
}
