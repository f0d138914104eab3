//! What the scrape, the alert rules and OTLP read: both providers, through their one reader each.

use std::sync::{Arc, Mutex};

use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;

use super::collected::{Catalogue, Collected, Exemplars, SeriesExemplars};
use super::exemplars::Exemplar;
use super::registry::Registry;
use super::series::Series;
use crate::lock::lock;
use crate::metrics::catalog::Instrument;
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
fn collect_into<T: Default>(
    mut room: Arc<T>,
    collect: impl FnOnce(&mut T) -> OTelSdkResult,
) -> Option<Arc<T>> {
    if let Some(kept) = Arc::get_mut(&mut room) {
        collect(kept).ok()?;
        return Some(room);
    }
    let mut fresh = T::default();
    collect(&mut fresh).ok()?;
    Some(Arc::new(fresh))
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

    /// Collects both, for a scrape; `None` after the shutdown. What fails of the service's own instruments is left out.
    pub(crate) fn collect(&self) -> Option<Collected> {
        let registry = Arc::clone(self.metrics.registry());
        // No lock is held while a service's callbacks run.
        let room = std::mem::take(&mut *lock(&self.memory));
        let catalogue = collect_into(room.catalogue, |into| registry.collect(into))?;
        let foreign = collect_into(room.foreign, |into| self.foreign.collect(into));
        let kept = Memory { catalogue: Arc::clone(&catalogue), foreign: foreign.clone().unwrap_or_default() };
        *lock(&self.memory) = kept;
        let published = Arc::clone(&registry);
        Some(Collected {
            catalogue,
            foreign,
            published: Arc::new(move |row| published.is_published(row.group)),
            exemplars: registry,
        })
    }

    /// Collects the catalogue alone, into memory that the caller keeps.
    pub(crate) fn collect_catalogue(&self, into: &mut Catalogue) -> OTelSdkResult {
        self.metrics.registry().collect(into)
    }
}

impl Exemplars for Registry {
    fn series(
        &self,
        instrument: &Instrument,
        attributes: &mut dyn Iterator<Item = &KeyValue>,
    ) -> Option<Arc<dyn SeriesExemplars>> {
        // The SDK gives attributes back as they were bound: sorted by key.
        let attributes: Vec<KeyValue> = attributes.cloned().collect();
        self.with_series(instrument.name, |series| {
            series?.get(&attributes).map(|series| Arc::clone(series) as Arc<dyn SeriesExemplars>)
        })
    }
}

impl SeriesExemplars for Series {
    fn slot(&self, index: usize) -> Option<Exemplar> {
        self.exemplar(index)
    }
}
