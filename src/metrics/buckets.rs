//! A histogram that many threads record into and nobody waits for.
//!
//! Each thread has a lane of its own in every histogram, so that a recording is a few plain loads and stores: no lock,
//! no atomic read-modify-write, no cache line that another thread writes. A lane has two halves, each a sequence lock
//! with one writer. A reader sends the writers to the other half, reads the quiet one whole, and sends them back: buckets,
//! count and sum agree, and neither side can keep the other from going on. The sum of all halves is the histogram.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use crate::lock::lock;

/// Threads that have a lane of their own at a time. The lane after them is for all further ones, which take turns.
const LANES: usize = 32;
const WORDS_OF_LINE: usize = 8;
/// Where a half's words stand: twice the number of its recordings (odd while one is made), the bits of their sum, then
/// the counts of the buckets.
const SEQUENCE: usize = 0;
const SUM: usize = 1;
const COUNTS: usize = 2;

/// A cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; WORDS_OF_LINE]);

/// The buckets, count and sum of one series.
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: &'static [f64],
    lines: Box<[Line]>,
    lines_of_half: usize,
    /// The half that is written now.
    half: AtomicUsize,
    /// One reader at a time.
    reading: Mutex<()>,
    /// For the threads that have no lane of their own.
    crowd: Mutex<()>,
}

impl Buckets {
    /// Upper bounds without `+Inf`, ascending.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let lines_of_half = (COUNTS + bounds.len() + 1).div_ceil(WORDS_OF_LINE);
        Self {
            bounds,
            lines: (0..(LANES + 1) * 2 * lines_of_half).map(|_| Line::default()).collect(),
            lines_of_half,
            half: AtomicUsize::new(0),
            reading: Mutex::default(),
            crowd: Mutex::default(),
        }
    }

    pub(crate) const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// The bucket of a value that is a number: upper bounds belong to their bucket.
    #[inline]
    pub(crate) fn bucket(&self, value: f64) -> usize {
        self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len())
    }

    /// Counts a value in its bucket. Never waits where the thread has a lane of its own.
    #[inline]
    pub(crate) fn record(&self, bucket: usize, value: f64) {
        let lane = lane();
        if lane < LANES {
            self.add(lane, bucket, value);
        } else {
            self.add_in_turn(bucket, value);
        }
    }

    #[cold]
    fn add_in_turn(&self, bucket: usize, value: f64) {
        if TAKEN.load(Ordering::Relaxed) != ALL {
            // One has ended; or this one ends, and is given none.
            take_lane();
        }
        let _turn = lock(&self.crowd);
        self.add(LANES, bucket, value);
    }

    /// The only writer of the lane is the caller.
    #[inline]
    fn add(&self, lane: usize, bucket: usize, value: f64) {
        let half = self.half(lane, self.half.load(Ordering::Relaxed));
        let (Some(sequence), Some(sum), Some(count)) =
            (word(half, SEQUENCE), word(half, SUM), word(half, COUNTS + bucket))
        else {
            return;
        };
        let before = sequence.load(Ordering::Relaxed);
        sequence.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        let total = f64::from_bits(sum.load(Ordering::Relaxed)) + value;
        sum.store(total.to_bits(), Ordering::Relaxed);
        sequence.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Adds the buckets' counts to `counts` (one more than there are bounds) and returns the sum of the values.
    pub(crate) fn read(&self, counts: &mut [u64]) -> f64 {
        let _one = lock(&self.reading);
        let lanes = lanes_in_use();
        let mut sum = 0.0;
        let mut copy = Vec::new();
        for half in [0, 1] {
            self.half.store(1 - half, Ordering::Relaxed);
            for lane in (0..lanes).chain([LANES]) {
                if let Some(part) = copy_of(self.half(lane, half), COUNTS + counts.len(), &mut copy) {
                    sum += part;
                    for (count, more) in counts.iter_mut().zip(&copy) {
                        *count = count.wrapping_add(*more);
                    }
                }
            }
        }
        sum
    }

    #[inline]
    fn half(&self, lane: usize, half: usize) -> &[Line] {
        let start = (2 * lane + half) * self.lines_of_half;
        self.lines.get(start..start + self.lines_of_half).unwrap_or_default()
    }
}

#[inline]
fn word(half: &[Line], index: usize) -> Option<&AtomicU64> {
    half.get(index / WORDS_OF_LINE)?.0.get(index % WORDS_OF_LINE)
}

/// The sum of a half, and its counts in `copy`; `None` where nothing was recorded. Waits for a recording that is being
/// made, which takes nanoseconds: the next one goes to the other half.
fn copy_of(half: &[Line], words: usize, copy: &mut Vec<u64>) -> Option<f64> {
    let sequence = word(half, SEQUENCE)?;
    let mut tries = 0_u32;
    loop {
        let before = sequence.load(Ordering::Acquire);
        if before == 0 {
            return None;
        }
        if before & 1 == 0 {
            copy.clear();
            let all = half.iter().flat_map(|line| &line.0).take(words);
            copy.extend(all.skip(COUNTS).map(|count| count.load(Ordering::Relaxed)));
            let sum = f64::from_bits(word(half, SUM)?.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if sequence.load(Ordering::Relaxed) == before {
                return Some(sum);
            }
        }
        // The writer may have lost its processor within a recording.
        tries += 1;
        if tries < 64 {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

const ALL: u64 = (1 << LANES) - 1;
/// Which lanes belong to a thread, a bit each.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// No lane beyond was ever taken.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// What a thread has that has never recorded.
const NONE: usize = usize::MAX;

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(NONE) };
    static RETURN: Return = const { Return };
}

/// Gives the thread's lane back when the thread ends.
struct Return;

impl Drop for Return {
    fn drop(&mut self) {
        // What still records while the thread ends does so among the crowd.
        let lane = LANE.replace(LANES);
        if lane < LANES {
            TAKEN.fetch_and(!(1_u64 << lane), Ordering::Release);
        }
    }
}

fn lanes_in_use() -> usize {
    IN_USE.load(Ordering::Acquire)
}

/// The lane of this thread.
#[inline]
fn lane() -> usize {
    let lane = LANE.get();
    if lane == NONE { take_lane() } else { lane }
}

/// The lowest lane that no thread has, for as long as this thread lives.
#[cold]
fn take_lane() -> usize {
    let mut lane = LANES;
    // Refused while the thread ends: nobody would give it back.
    if RETURN.try_with(|_| ()).is_ok() {
        let taken = TAKEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            let free = taken.trailing_ones() as usize;
            (free < LANES).then(|| taken | 1 << free)
        });
        if let Ok(taken) = taken {
            lane = taken.trailing_ones() as usize;
            IN_USE.fetch_max(lane + 1, Ordering::AcqRel);
        }
    }
    LANE.set(lane);
    lane
}

#[cfg(test)]
#[expect(clippy::float_cmp, clippy::cast_precision_loss, reason = "small numbers of halves add up exactly")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    const BOUNDS: &[f64] = &[1.0, 2.0, 5.0];

    fn record(buckets: &Buckets, value: f64) {
        buckets.record(buckets.bucket(value), value);
    }

    fn read(buckets: &Buckets) -> ([u64; 4], f64) {
        let mut counts = [0; 4];
        let sum = buckets.read(&mut counts);
        (counts, sum)
    }

    #[test]
    fn a_value_is_in_the_first_bucket_whose_bound_is_not_below_it() {
        let buckets = Buckets::new(BOUNDS);
        assert_eq!(read(&buckets), ([0; 4], 0.0));
        for value in [-3.0, 1.0, 1.5, 2.0, 5.0, 5.000_001, 1e300] {
            record(&buckets, value);
        }
        assert_eq!(read(&buckets).0, [2, 2, 1, 2]);
        record(&buckets, -1e300);
        assert_eq!(read(&buckets).0, [3, 2, 1, 2], "a reading takes nothing away");
    }

    #[test]
    fn more_threads_than_lanes_lose_nothing() {
        let buckets = Arc::new(Buckets::new(BOUNDS));
        let together = Arc::new(std::sync::Barrier::new(2 * LANES));
        let threads: Vec<_> = (0..2 * LANES)
            .map(|_| {
                let (buckets, together) = (Arc::clone(&buckets), Arc::clone(&together));
                thread::spawn(move || {
                    record(&buckets, 0.5);
                    together.wait();
                    for _ in 0..1_000 {
                        record(&buckets, 1.5);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let threads = 2 * LANES as u64;
        assert_eq!(read(&buckets).0, [threads, 1_000 * threads, 0, 0]);
    }

    #[test]
    fn a_lane_is_given_back_when_its_thread_ends() {
        let threads = 20 * LANES;
        let crowded = (0..threads).filter(|_| thread::spawn(|| lane() == LANES).join().unwrap()).count();
        // Other tests may hold them all for a moment, but no thread that has ended does.
        assert!(crowded < threads - LANES, "{crowded} of {threads} threads had no lane");
    }

    #[test]
    fn a_thread_without_a_lane_takes_the_first_that_is_given_back() {
        let buckets = Arc::new(Buckets::new(BOUNDS));
        let together = Arc::new(std::sync::Barrier::new(2 * LANES));
        let all = thread::spawn(move || {
            let threads: Vec<_> = (0..2 * LANES)
                .map(|number| {
                    let (buckets, together) = (Arc::clone(&buckets), Arc::clone(&together));
                    thread::spawn(move || {
                        record(&buckets, 1.5);
                        let had_none = lane() == LANES;
                        together.wait();
                        // The others end, and let their lanes go.
                        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
                        while had_none && number % 8 == 0 && lane() == LANES {
                            assert!(std::time::Instant::now() < until, "no lane came free");
                            record(&buckets, 1.5);
                            thread::yield_now();
                        }
                        had_none
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|had_none| *had_none).count()
        });
        assert!(
            all.join().unwrap() >= LANES,
            "half of them have none at first, and none of those is waiting for ever"
        );
    }

    #[test]
    fn what_is_recorded_while_a_thread_ends_is_not_in_a_lane_that_is_given_back() {
        struct Late(Arc<Buckets>);
        impl Drop for Late {
            fn drop(&mut self) {
                record(&self.0, 1.5);
                assert_eq!(lane(), LANES);
            }
        }
        thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let buckets = Arc::new(Buckets::new(BOUNDS));
        let recorded = Arc::clone(&buckets);
        let thread = thread::spawn(move || {
            // Registered before the lane is taken, and so destroyed after it is given back.
            LATE.set(Some(Late(Arc::clone(&recorded))));
            record(&recorded, 1.5);
        });
        thread.join().unwrap();
        assert_eq!(read(&buckets).0, [0, 2, 0, 0]);
    }

    #[test]
    fn a_reader_waits_for_the_recording_that_is_being_made() {
        let buckets = Arc::new(Buckets::new(BOUNDS));
        record(&buckets, 1.5);
        let half = buckets.half(lane(), 0);
        let set = |index: usize, to: u64| word(half, index).unwrap().store(to, Ordering::SeqCst);
        set(SEQUENCE, 3);
        set(COUNTS + 1, 2);
        let reading = Arc::clone(&buckets);
        let reader = thread::spawn(move || read(&reading));
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(!reader.is_finished(), "it has read half of a recording");
        set(SUM, 3.0_f64.to_bits());
        set(SEQUENCE, 4);
        assert_eq!(reader.join().unwrap(), ([0, 2, 0, 0], 3.0));
    }

    #[test]
    fn a_reader_beside_writers_without_a_pause_goes_on_and_sees_whole_recordings() {
        let buckets = Arc::new(Buckets::new(BOUNDS));
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let (buckets, stop) = (Arc::clone(&buckets), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut number = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        for value in [0.5, 1.5, 3.0, 8.0] {
                            record(&buckets, value);
                        }
                        number += 4;
                    }
                    number
                })
            })
            .collect();
        let mut last = 0;
        for _ in 0..2_000 {
            let (counts, sum) = read(&buckets);
            // These values tell from the sum alone which recordings it holds.
            let expected: f64 =
                counts.iter().zip([0.5, 1.5, 3.0, 8.0]).map(|(count, value)| *count as f64 * value).sum();
            assert_eq!(sum, expected);
            let count = counts.iter().sum();
            assert!(last <= count, "a count went down");
            last = count;
        }
        stop.store(true, Ordering::Relaxed);
        let recorded: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert_eq!(read(&buckets).0.iter().sum::<u64>(), recorded);
    }
}
