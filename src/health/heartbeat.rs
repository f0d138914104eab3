//! A component that says itself that it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::board::{Board, Record};
use super::check::Probe;
use super::failure::CheckFailure;

/// Silence that is shorter is none.
const SHORTEST_SILENCE: Duration = Duration::from_millis(1);

/// The sign of life of a component: call [`beat`](Self::beat) on each tick of a feed, each turn of a loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Beat>);

#[derive(Debug)]
struct Beat {
    board: Arc<Board>,
    record: Arc<Record>,
    late_after: Duration,
    /// Nanoseconds of the monotonic clock; 0 before the first beat.
    last: AtomicU64,
    late: AtomicBool,
    /// Told of the first beat.
    begun: Notify,
}

impl Heartbeat {
    pub(super) fn new(board: Arc<Board>, record: Arc<Record>, late_after: Duration) -> Self {
        // A silence of nothing would be a loss between two beats of any pace.
        let late_after = late_after.max(SHORTEST_SILENCE);
        let (last, late) = (AtomicU64::new(0), AtomicBool::new(true));
        Self(Arc::new(Beat { board, record, late_after, last, late, begun: Notify::new() }))
    }

    /// The component lives. A reading of the clock and an atomic; only the first beat after a silence does more: it
    /// brings the component back at once.
    pub fn beat(&self) {
        let Beat { board, record, last, late, begun, .. } = &*self.0;
        last.store(nanos(board.now()).max(1), Ordering::Release);
        if late.load(Ordering::Acquire) && late.swap(false, Ordering::AcqRel) {
            board.checked(record, Ok(()), Duration::ZERO, || true);
            begun.notify_one();
        }
    }

    /// Waits for the first beat.
    pub(super) async fn begun(&self) {
        self.0.begun.notified().await;
    }

    /// Whether the last beat is not longer ago than it may be.
    pub(super) fn is_in_time(&self) -> bool {
        self.silence().is_some_and(|silence| silence <= self.0.late_after)
    }

    /// How often to look whether it is late: so that a silence is noticed soon after.
    pub(super) fn interval(late_after: Duration) -> Duration {
        (late_after / 5).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// Time since the last beat; `None` before the first.
    fn silence(&self) -> Option<Duration> {
        let last = self.0.last.load(Ordering::Acquire);
        (last > 0).then(|| self.0.board.now().saturating_sub(Duration::from_nanos(last)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Asked for the first time when the first beat is due.
impl Probe for Heartbeat {
    async fn probe(&self) -> Result<(), CheckFailure> {
        let Beat { late_after, late, .. } = &*self.0;
        if self.is_in_time() {
            return Ok(());
        }
        late.store(true, Ordering::Release);
        match self.silence() {
            // A beat that came in between saw no silence to end.
            Some(silence) if silence <= *late_after => {
                late.store(false, Ordering::Release);
                Ok(())
            }
            Some(silence) => Err(CheckFailure::new(format_args!(
                "no beat for {:.1} s, one is due every {late_after:?}",
                silence.as_secs_f64()
            ))),
            None => Err(CheckFailure::new(format_args!(
                "no beat since the start, one is due every {late_after:?}"
            ))),
        }
    }
}
