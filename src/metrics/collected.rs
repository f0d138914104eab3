//! One collection, as a scrape is made of it.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::ResourceMetrics;

use super::catalog::Instrument;
use super::exemplars::Exemplar;

/// Which instruments of the catalogue the service publishes.
pub(crate) type Published = Arc<dyn Fn(&Instrument) -> bool + Send + Sync>;

/// One collection, ready to be written.
#[derive(Clone)]
pub(crate) struct Collected {
    /// The catalogue's instruments, under their `otel_name()`. Its resource is what `target_info` shows.
    pub(crate) catalogue: Arc<ResourceMetrics>,
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
