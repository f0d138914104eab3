//! What this crate remembers of a series beside the SDK's aggregation: whether and when it was recorded, and its
//! exemplars.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::bound::Count;
use super::buckets::Buckets;
use super::catalog::{Group, Instrument, Kind};
use super::exemplars::{Exemplar, Slot};
use crate::told::Told;

/// What is added up may not be larger, to either side: 2^960, so that as many as a `u64` counts stay below infinity.
pub(crate) const LARGEST_ADDEND: f64 = f64::from_bits((1023 + 960) << 52);

const RECORDED: u8 = 1;
const FRESH: u8 = 2;
const REFUSED: u8 = 4;

/// A group's place in the scrape.
#[derive(Debug)]
pub(crate) struct GroupState {
    group: Group,
    published: AtomicBool,
}

impl GroupState {
    pub(crate) fn new(group: Group, published: bool) -> Self {
        Self { group, published: AtomicBool::new(published) }
    }

    pub(crate) fn is_published(&self) -> bool {
        self.published.load(Ordering::Relaxed)
    }

    /// Figures are never thrown away: recording into a group that `metrics.groups` leaves out publishes it.
    fn publish(&self, instrument: &Instrument) {
        if !self.published.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "trading_telemetry",
                group = self.group.as_str(),
                instrument = instrument.name,
                hint = "add the group to metrics.groups, or record it in its owner process alone",
                "metrics_group_not_listed"
            );
        }
    }
}

/// What all series of an instrument share.
#[derive(Debug)]
pub(crate) struct InstrumentState {
    pub(crate) row: &'static Instrument,
    pub(crate) group: Arc<GroupState>,
    refused: Option<Count>,
    told_refused: Told,
}

impl InstrumentState {
    pub(crate) fn new(row: &'static Instrument, group: Arc<GroupState>, refused: Option<Count>) -> Self {
        Self { row, group, refused, told_refused: Told::default() }
    }

    fn refuse(&self, value: f64) {
        if let Some(refused) = &self.refused {
            refused.increment();
        }
        self.told_refused.once(|| {
            tracing::warn!(
                target: "trading_telemetry",
                instrument = self.row.name,
                value = ?value,
                hint = "record a finite number, at most 9e288 where it is added up; further refusals are counted in \
                        trading_telemetry_refused_values_total",
                "metric_value_refused"
            );
        });
    }
}

/// One series of the catalogue.
#[derive(Debug)]
pub(crate) struct Series {
    instrument: Arc<InstrumentState>,
    mark: AtomicU8,
    /// The number of a counter of events; the value of another counter or of a gauge, as the bits of a float.
    value: AtomicU64,
    /// Whether it was recorded as of the last evaluation.
    recorded: AtomicBool,
    /// Nanoseconds on the monotonic clock of the last evaluation that found the series recorded anew.
    recorded_at: AtomicU64,
    /// Whether the last recording was refused.
    refused: AtomicBool,
    /// A histogram's values.
    buckets: Option<Buckets>,
    /// One for a counter, one a bucket for a histogram, none for a gauge.
    exemplars: Box<[Slot]>,
}

/// When a series was recorded by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// Not at all: its value is a start-up 0.
    Never,
    /// At this reading of the monotonic clock.
    At(Duration),
    /// The last recording was refused.
    Refused,
}

impl Series {
    pub(crate) fn new(instrument: Arc<InstrumentState>) -> Self {
        let (slots, buckets) = match instrument.row.kind {
            Kind::Counter => (1, None),
            Kind::Histogram(bounds) => (bounds.len() + 1, Some(Buckets::new(bounds))),
            Kind::Info | Kind::Gauge => (0, None),
        };
        let exemplars = (0..slots).map(|_| Slot::default()).collect();
        Self {
            instrument,
            mark: AtomicU8::new(0),
            value: AtomicU64::new(0),
            recorded: AtomicBool::new(false),
            recorded_at: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            buckets,
            exemplars,
        }
    }

    /// Notes that the series was recorded, once its value is there. One relaxed load unless it is the first time since
    /// [`Self::mark`].
    #[inline]
    pub(crate) fn touch(&self) {
        if self.mark.load(Ordering::Relaxed) & FRESH == 0 {
            self.refresh();
        }
    }

    #[cold]
    fn refresh(&self) {
        self.mark.fetch_or(RECORDED | FRESH, Ordering::Release);
        self.instrument.group.publish(self.instrument.row);
    }

    /// Counts an event.
    #[inline]
    pub(crate) fn count(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of events.
    pub(crate) fn number(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Adds to the value of a counter.
    #[inline]
    pub(crate) fn add(&self, more: f64) {
        let mut before = self.value.load(Ordering::Relaxed);
        loop {
            let after = (f64::from_bits(before) + more).to_bits();
            match self.value.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }

    /// Sets the value of a gauge.
    #[inline]
    pub(crate) fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The value of a gauge, or of a counter that is none of events; at first 0.
    pub(crate) fn value(&self) -> f64 {
        f64::from_bits(self.value.load(Ordering::Relaxed))
    }

    /// Whether a gauge may show the value; counts it where not.
    #[inline]
    pub(crate) fn admits(&self, value: f64) -> bool {
        if value.is_finite() {
            return true;
        }
        self.refuse(value);
        false
    }

    /// Whether the value may be added to others; counts it where not.
    #[inline]
    pub(crate) fn admits_addend(&self, value: f64) -> bool {
        // False for NaN too.
        if value.abs() <= LARGEST_ADDEND {
            return true;
        }
        self.refuse(value);
        false
    }

    #[cold]
    pub(crate) fn refuse(&self, value: f64) {
        self.mark.fetch_or(REFUSED, Ordering::Relaxed);
        self.instrument.refuse(value);
    }

    /// The values of a histogram.
    #[inline]
    pub(crate) fn buckets(&self) -> Option<&Buckets> {
        self.buckets.as_ref()
    }

    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.exemplars.get(index)
    }

    /// The last exemplar of a counter (0) or of a histogram's bucket.
    pub(crate) fn exemplar(&self, index: usize) -> Option<Exemplar> {
        self.slot(index)?.read()
    }

    /// Notes when this process last recorded the series, as an evaluation at `now` can tell. To be called before its value
    /// is read: one that counts as recorded is then no start-up 0.
    pub(crate) fn mark(&self, now: Duration) {
        let mark = self.mark.fetch_and(RECORDED, Ordering::Acquire);
        if mark & FRESH != 0 {
            self.refused.store(false, Ordering::Relaxed);
            self.recorded_at.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        } else if mark & REFUSED != 0 {
            self.refused.store(true, Ordering::Relaxed);
        }
        self.recorded.store(mark & RECORDED != 0, Ordering::Relaxed);
    }

    /// When this process last recorded the series, as of the last [`Self::mark`].
    pub(crate) fn recorded(&self) -> Recorded {
        if self.refused.load(Ordering::Relaxed) {
            Recorded::Refused
        } else if self.recorded.load(Ordering::Relaxed) {
            Recorded::At(Duration::from_nanos(self.recorded_at.load(Ordering::Relaxed)))
        } else {
            Recorded::Never
        }
    }
}
