//! One collection, as a scrape is made of it.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::ResourceMetrics;

use super::buckets::Buckets;
use super::catalog::{CATALOG, Instrument};
use super::exemplars::Exemplar;
use super::registry::attributes;

/// Which instruments of the catalogue the service publishes.
pub(crate) type Published = Arc<dyn Fn(&Instrument) -> bool + Send + Sync>;

/// The figures of every row of the catalogue, in its order.
///
/// Kept from collection to collection: the series of a row come in the same order each time, so that what is read anew are
/// their values.
#[derive(Debug)]
pub(crate) struct Catalogue(Vec<Figures>);

impl Default for Catalogue {
    fn default() -> Self {
        Self(CATALOG.iter().map(|_| Figures::default()).collect())
    }
}

impl Catalogue {
    /// Each row with its figures.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static Instrument, &Figures)> {
        CATALOG.iter().zip(&self.0)
    }

    /// The figures of the row of that number.
    pub(crate) fn row(&mut self, ordinal: usize) -> Option<&mut Figures> {
        self.0.get_mut(ordinal)
    }

    /// Begins a collection.
    pub(crate) fn begin(&mut self) {
        for figures in &mut self.0 {
            figures.values.clear();
            figures.counts.clear();
        }
    }

    /// Ends a collection: forgets the series that are gone.
    pub(crate) fn end(&mut self) {
        for figures in &mut self.0 {
            figures.attributes.truncate(figures.values.len());
        }
    }
}

/// The series of one row.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    attributes: Vec<Arc<[KeyValue]>>,
    /// A histogram's sum.
    values: Vec<f64>,
    /// The counts of a histogram's buckets, those of a series behind those of the one before.
    counts: Vec<u64>,
    bounds: &'static [f64],
}

/// One series of a histogram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistogramPoint<'a> {
    /// Sorted by key.
    pub(crate) attributes: &'a Arc<[KeyValue]>,
    pub(crate) bounds: &'static [f64],
    /// Of each bucket alone, `+Inf` included.
    pub(crate) counts: &'a [u64],
    pub(crate) sum: f64,
}

impl Figures {
    /// The series of a counter, a gauge or an info; attributes are sorted by key.
    pub(crate) fn singles(&self) -> impl Iterator<Item = (&Arc<[KeyValue]>, f64)> {
        let is_histogram = !self.counts.is_empty();
        self.attributes.iter().zip(self.values.iter().copied()).filter(move |_| !is_histogram)
    }

    /// The series of a histogram.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = HistogramPoint<'_>> {
        let counts = self.counts.chunks_exact(self.bounds.len() + 1);
        self.attributes.iter().zip(&self.values).zip(counts).map(|((attributes, sum), counts)| {
            HistogramPoint { attributes, bounds: self.bounds, counts, sum: *sum }
        })
    }

    /// Adds the next series of a counter or a gauge.
    pub(crate) fn take(&mut self, attributes: &Arc<[KeyValue]>, value: f64) {
        self.keep(|kept| Arc::ptr_eq(kept, attributes), || Arc::clone(attributes));
        self.values.push(value);
    }

    /// Adds the next series of a histogram.
    pub(crate) fn take_histogram(&mut self, attributes: &Arc<[KeyValue]>, buckets: &Buckets) {
        let start = self.counts.len();
        self.bounds = buckets.bounds();
        self.counts.resize(start + self.bounds.len() + 1, 0);
        let sum = buckets.read(&mut self.counts[start..]);
        self.take(attributes, sum);
    }

    /// Adds the next series of an instrument that is read when it is collected, by its label values in the order of the
    /// row.
    pub(crate) fn take_observed(&mut self, row: &Instrument, values: &[&str], value: f64) {
        let has = |kept: &Arc<[KeyValue]>| {
            row.labels.iter().zip(values).all(|(label, value)| {
                kept.iter().any(|pair| pair.key.as_str() == label.name && *pair.value.as_str() == **value)
            })
        };
        self.keep(has, || attributes(row, values).into());
        self.values.push(value);
    }

    /// Sees to it that the next series has these attributes.
    fn keep(&mut self, has: impl FnOnce(&Arc<[KeyValue]>) -> bool, make: impl FnOnce() -> Arc<[KeyValue]>) {
        let next = self.values.len();
        match self.attributes.get_mut(next) {
            Some(kept) if has(kept) => {}
            Some(other) => *other = make(),
            None => self.attributes.push(make()),
        }
    }
}

/// One collection, ready to be written.
#[derive(Clone)]
pub(crate) struct Collected {
    pub(crate) catalogue: Arc<Catalogue>,
    /// What `target_info` shows.
    pub(crate) resource: Resource,
    /// The service's own instruments.
    pub(crate) foreign: Option<Arc<ResourceMetrics>>,
    pub(crate) published: Published,
    pub(crate) exemplars: Arc<dyn Exemplars>,
}

/// The exemplars of the catalogue's series.
pub(crate) trait Exemplars: Send + Sync {
    /// The exemplars of a series by the numbers of its row and of itself, or `None` where it has none. Asked once per
    /// series and `OpenMetrics` scrape.
    fn series(&self, row: usize, series: usize) -> Option<Arc<dyn SeriesExemplars>>;
}

/// The exemplars of one series.
pub(crate) trait SeriesExemplars: Send + Sync {
    /// The exemplar of that bucket (the last is `+Inf`), or of a counter, which has the slot 0 alone. It must lie in
    /// that bucket.
    fn slot(&self, index: usize) -> Option<Exemplar>;
}

/// For whoever keeps none.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct NoExemplars;

#[cfg(test)]
impl Exemplars for NoExemplars {
    fn series(&self, _: usize, _: usize) -> Option<Arc<dyn SeriesExemplars>> {
        None
    }
}
