//! Runs the checks: a thread with a runtime keeps the time, and each check has a thread of a pool for itself while it runs,
//! so that one that hangs, even in a call that blocks, delays no other.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::board::{Board, Record};
use super::check::Ask;
use super::failure::CheckFailure;

/// The threads on which checks run. Their panics are told by the component's state, without secrets.
pub(crate) const CHECK_THREAD: &str = "telemetry-check";
/// What a check that never awaits is given beyond its timeout before it is left behind.
const GRACE: Duration = Duration::from_millis(200);
/// The longest wait before a first check; spreads the checks of many services that start together.
const MAX_JITTER: Duration = Duration::from_secs(1);
/// What checks in flight are given to end at a shutdown.
const FAREWELL: Duration = Duration::from_millis(500);

/// A check and where its results go.
pub(super) struct Job {
    pub(super) board: Arc<Board>,
    pub(super) record: Arc<Record>,
    pub(super) component: String,
    pub(super) timeout: Duration,
    pub(super) interval: Duration,
    pub(super) delay: Duration,
    pub(super) begun: Arc<Notify>,
    pub(super) ask: Arc<dyn Ask>,
}

/// The running checks. Dropped, they stop.
#[derive(Debug)]
pub(super) struct Runner {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Runner {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().thread_name(CHECK_THREAD).build()?;
        let (jobs, incoming) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("telemetry-health".to_owned())
            .spawn(move || run(runtime, incoming))?;
        Ok(Self { jobs })
    }

    /// Runs a check, in place of an earlier one of the same component.
    pub(super) fn watch(&self, job: Job) {
        let _ = self.jobs.send(job); // the thread ends after the last sender
    }
}

fn run(runtime: Runtime, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let ended = runtime.block_on(async {
        // A job ends when its sender is dropped: here, or where another takes its component over.
        let mut stops: HashMap<String, watch::Sender<()>> = HashMap::new();
        let mut tasks = JoinSet::new();
        while let Some(job) = jobs.recv().await {
            let (stop, stopping) = watch::channel(());
            stops.insert(job.component.clone(), stop);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(job.repeat(stopping));
        }
        drop(stops);
        timeout(FAREWELL, tasks.join_all()).await.is_ok()
    });
    if !ended {
        // A check blocks its thread. Were it to await a timer after the runtime is gone, tokio would panic in it.
        std::mem::forget(runtime);
    }
}

type Running = JoinHandle<Option<Result<(), CheckFailure>>>;

impl Job {
    async fn repeat(self, mut stopping: watch::Receiver<()>) {
        let mut hanging = None;
        tokio::select! {
            () = sleep(self.delay + self.jitter()) => {}
            // From its first sign of life on its age is counted, and it has to be asked.
            () = self.begun.notified() => {}
            () = stopped(&mut stopping) => return,
        }
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopped(&mut stopping) => break,
            }
            let started = self.board.now();
            let Some(result) = self.once(&mut hanging, &stopping).await else { break };
            self.board.checked(&self.record, result, self.board.now().saturating_sub(started));
        }
        if let Some(hanging) = hanging {
            let _: Result<_, JoinError> = hanging.await;
        }
    }

    /// One check; `None` where it was interrupted by the end. `hanging` is one that blocks its thread beyond its time:
    /// until it ends no other is started.
    async fn once(
        &self,
        hanging: &mut Option<Running>,
        stopping: &watch::Receiver<()>,
    ) -> Option<Result<(), CheckFailure>> {
        if hanging.as_ref().is_some_and(|running| !running.is_finished()) {
            return Some(Err(CheckFailure::new(
                "the check before has not ended yet: it blocks its thread, as a silent name server does",
            )));
        }
        if let Some(ended) = hanging.take()
            && let Err(error) = ended.await
        {
            return Some(Err(panicked(error)));
        }
        let (ask, limit, runtime) = (Arc::clone(&self.ask), self.timeout, Handle::current());
        let mut stopping = stopping.clone();
        let late = move || Err(CheckFailure::new(format_args!("no answer within {limit:?}")));
        let mut running = spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    result = timeout(limit, ask.ask()) => Some(result.unwrap_or_else(|_| late())),
                    () = stopped(&mut stopping) => None,
                }
            })
        });
        match timeout(limit + GRACE, &mut running).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Some(Err(panicked(error))),
            Err(_) => {
                *hanging = Some(running);
                Some(late())
            }
        }
    }

    fn jitter(&self) -> Duration {
        let share = RandomState::new().hash_one(()) % 1_000;
        self.interval.min(MAX_JITTER).mul_f64(f64::from(u32::try_from(share).unwrap_or_default()) / 1_000.0)
    }
}

/// Ends when the runner does.
async fn stopped(stopping: &mut watch::Receiver<()>) {
    while stopping.changed().await.is_ok() {}
}

fn panicked(error: JoinError) -> CheckFailure {
    let Ok(payload) = error.try_into_panic() else { return CheckFailure::new("the check was cancelled") };
    let payload: &(dyn Any + Send) = &*payload;
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    CheckFailure::new(format_args!("the check panicked: {}", text.unwrap_or("with no text")))
}
