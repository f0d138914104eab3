//! Exponential histograms as classic ones: neither text 0.0.4 nor `OpenMetrics` 1.0 can show them as they are, and a
//! histogram that is left out would be missed by nobody until it is needed.

use opentelemetry_sdk::metrics::data::{ExponentialBucket, ExponentialHistogramDataPoint};

/// Appends the cumulative buckets of a point, without `+Inf`.
///
/// Bounds are the powers of two from the smallest value seen to the largest. The SDK's own resolution follows the range
/// of the values, so that its bounds would be other series after a single outlier; those of scale 0 stay, and each
/// coarser scale uses some of them. What is lost is resolution: a factor of two.
pub(super) fn classic_buckets<T>(point: &ExponentialHistogramDataPoint<T>, buckets: &mut Vec<(f64, u64)>) {
    let start = buckets.len();
    let scale = point.scale();
    let mut total = 0_u64;

    // A negative bucket with index i holds [-2^(i+1), -2^i): the largest index comes first.
    for (index, count) in at_scale_zero(point.negative_bucket(), scale).into_iter().rev() {
        total = total.saturating_add(count);
        push(buckets, start, -power_of_two(index, scale), total);
    }
    total = total.saturating_add(point.zero_count());
    push(buckets, start, point.zero_threshold(), total);
    for (index, count) in at_scale_zero(point.positive_bucket(), scale) {
        total = total.saturating_add(count);
        push(buckets, start, power_of_two(index.saturating_add(1), scale), total);
    }
}

/// Whether every value was 0 or more, as far as the buckets can tell.
pub(super) fn is_positive<T>(point: &ExponentialHistogramDataPoint<T>) -> bool {
    point.negative_bucket().counts().all(|count| count == 0)
}

/// A bound that underflows or overflows repeats its neighbour, or `+Inf`.
fn push(buckets: &mut Vec<(f64, u64)>, start: usize, bound: f64, total: u64) {
    match buckets[start..].last_mut() {
        Some(last) if bound <= last.0 => last.1 = total,
        _ if bound.is_finite() => buckets.push((bound, total)),
        _ => {}
    }
}

/// Merges buckets of a finer scale than 0, from the first that holds something to the last.
fn at_scale_zero(bucket: &ExponentialBucket, scale: i8) -> Vec<(i32, u64)> {
    let shift = scale.clamp(0, 30);
    let mut merged: Vec<(i32, u64)> = Vec::new();
    let mut index = bucket.offset();
    for count in bucket.counts() {
        let coarse = index >> shift;
        index = index.saturating_add(1);
        match merged.last_mut() {
            Some(last) if last.0 == coarse => last.1 = last.1.saturating_add(count),
            None if count == 0 => {}
            _ => merged.push((coarse, count)),
        }
    }
    while merged.last().is_some_and(|last| last.1 == 0) {
        merged.pop();
    }
    merged
}

/// The bound `base^index` of that scale, where no base is below 2.
fn power_of_two(index: i32, scale: i8) -> f64 {
    let exponent = i64::from(index) << u32::from(scale.min(0).unsigned_abs().min(30));
    match exponent {
        ..=-1075 => 0.0,
        1024.. => f64::INFINITY,
        #[expect(clippy::cast_precision_loss, reason = "between -1074 and 1023")]
        within => (within as f64).exp2(),
    }
}
