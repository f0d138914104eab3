//! How long calls take: a histogram whose buckets are 1/32 wide, so that ten minutes of calls take no memory.

use std::time::Duration;

const STEPS: usize = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Times of one kind of call, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    calls: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; 64 * STEPS], calls: 0 }
    }

    pub(crate) fn add(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.calls += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// The time that this share of the calls stays within.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let mut seen = 0;
        for (index, calls) in self.buckets.iter().enumerate() {
            seen += calls;
            if seen > 0 && seen as f64 >= share * self.calls as f64 {
                return upper(index);
            }
        }
        0
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1);
    let octave = nanos.ilog2();
    // Below 32 ns each nanosecond has a bucket of its own.
    let step = if octave < STEP_BITS { nanos } else { (nanos >> (octave - STEP_BITS)) - STEPS as u64 };
    let octave = octave.saturating_sub(STEP_BITS - 1);
    octave as usize * STEPS + step as usize
}

/// The last nanosecond of a bucket.
fn upper(index: usize) -> u64 {
    let (octave, step) = ((index / STEPS) as u32, (index % STEPS) as u64);
    if octave == 0 { step } else { ((STEPS as u64 + step + 1) << (octave - 1)) - 1 }
}
