//! One collection, as a scrape is made of it.

use std::ops::Range;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::ResourceMetrics;

use super::buckets::Buckets;
use super::catalog::Instrument;
use super::exemplars::Exemplar;

/// Which instruments of the catalogue the service publishes.
pub(crate) type Published = Arc<dyn Fn(&Instrument) -> bool + Send + Sync>;

/// One collection of the catalogue.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Its instruments, under their `otel_name()`. Its resource is what `target_info` shows. A histogram is in it only
    /// for OTLP: everybody else reads [`Self::histograms`].
    pub(crate) metrics: ResourceMetrics,
    pub(crate) histograms: Histograms,
}

/// The histograms of the catalogue.
#[derive(Debug, Default)]
pub(crate) struct Histograms {
    series: Vec<HistogramSeries>,
    counts: Vec<u64>,
}

#[derive(Debug)]
struct HistogramSeries {
    row: &'static Instrument,
    attributes: Arc<[KeyValue]>,
    bounds: &'static [f64],
    counts: Range<usize>,
    sum: f64,
}

/// One series of a histogram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistogramPoint<'a> {
    /// Sorted by key.
    pub(crate) attributes: &'a [KeyValue],
    pub(crate) bounds: &'static [f64],
    /// Of each bucket alone, `+Inf` included.
    pub(crate) counts: &'a [u64],
    pub(crate) sum: f64,
}

impl Histograms {
    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.counts.clear();
    }

    /// Adds a series.
    pub(crate) fn read(&mut self, row: &'static Instrument, attributes: Arc<[KeyValue]>, buckets: &Buckets) {
        let (start, bounds) = (self.counts.len(), buckets.bounds());
        let counts = start..start + bounds.len() + 1;
        self.counts.resize(counts.end, 0);
        let sum = buckets.read(&mut self.counts[start..]);
        self.series.push(HistogramSeries { row, attributes, bounds, counts, sum });
    }

    /// The series of an instrument.
    pub(crate) fn of(&self, row: &Instrument) -> impl Iterator<Item = HistogramPoint<'_>> {
        self.series.iter().filter(move |series| series.row.name == row.name).map(|series| HistogramPoint {
            attributes: &series.attributes,
            bounds: series.bounds,
            counts: &self.counts[series.counts.clone()],
            sum: series.sum,
        })
    }
}

/// One collection, ready to be written.
#[derive(Clone)]
pub(crate) struct Collected {
    pub(crate) catalogue: Arc<Catalogue>,
    /// The service's own instruments.
    pub(crate) foreign: Option<Arc<ResourceMetrics>>,
    pub(crate) published: Published,
    pub(crate) exemplars: Arc<dyn Exemplars>,
}

/// The exemplars of the catalogue's series.
pub(crate) trait Exemplars: Send + Sync {
    /// The exemplars of the series of `instrument` with these attributes, or `None` where it has none. Asked once per
    /// series and `OpenMetrics` scrape.
    fn series(
        &self,
        instrument: &Instrument,
        attributes: &mut dyn Iterator<Item = &KeyValue>,
    ) -> Option<Arc<dyn SeriesExemplars>>;
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
    fn series(
        &self,
        _: &Instrument,
        _: &mut dyn Iterator<Item = &KeyValue>,
    ) -> Option<Arc<dyn SeriesExemplars>> {
        None
    }
}
