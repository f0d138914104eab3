//! Runs the checks: a thread with a runtime keeps the time, and each check has a thread for itself while it runs, so that
//! one that hangs, even in a call that blocks, delays no other. None of a pool: that has an end, and panics where the system
//! refuses a thread.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::board::{Board, Record};
use super::check::Ask;
use super::failure::CheckFailure;
use super::heartbeat::Heartbeat;
use crate::background;

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
    pub(super) heart: Option<Heartbeat>,
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
        background::spawn("telemetry-health", move || run(runtime, incoming))?;
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

/// What a check's thread sends as it ends: the result, `None` where it was interrupted, or the panic.
type Running = oneshot::Receiver<thread::Result<Option<Result<(), CheckFailure>>>>;

impl Job {
    async fn repeat(self, mut stopping: watch::Receiver<()>) {
        let mut hanging = None;
        tokio::select! {
            () = sleep(self.delay + self.jitter()) => {}
            // From its first sign of life on its age is counted, and it has to be asked.
            () = self.begun() => {}
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
            let took = self.board.now().saturating_sub(started);
            // A beat that came since has ended the silence already, and what it told is newer.
            let holds = || !self.heart.as_ref().is_some_and(Heartbeat::is_in_time);
            self.board.checked(&self.record, result, took, holds);
        }
        if let Some(hanging) = hanging {
            let _ = hanging.await; // the thread is over, whatever it says
        }
    }

    /// The first beat of its heart.
    async fn begun(&self) {
        match &self.heart {
            Some(heart) => heart.begun().await,
            None => std::future::pending().await,
        }
    }

    /// One check; `None` where it was interrupted by the end. `hanging` is one that blocks its thread beyond its time:
    /// until it ends no other is started.
    async fn once(
        &self,
        hanging: &mut Option<Running>,
        stopping: &watch::Receiver<()>,
    ) -> Option<Result<(), CheckFailure>> {
        match hanging.as_mut().map(Running::try_recv) {
            Some(Err(TryRecvError::Empty)) => {
                return Some(Err(CheckFailure::new(
                    "the check before has not ended yet: it blocks its thread, as a silent name server does",
                )));
            }
            Some(Ok(Err(panic))) => {
                *hanging = None;
                return Some(Err(panicked(&*panic)));
            }
            _ => *hanging = None,
        }
        let (ask, limit, runtime) = (Arc::clone(&self.ask), self.timeout, Handle::current());
        let mut stopping = stopping.clone();
        let late = move || Err(CheckFailure::new(format_args!("no answer within {limit:?}")));
        let check = move || {
            runtime.block_on(async {
                tokio::select! {
                    result = timeout(limit, ask.ask()) => Some(result.unwrap_or_else(|_| late())),
                    () = stopped(&mut stopping) => None,
                }
            })
        };
        let (end, mut running) = oneshot::channel();
        let thread = thread::Builder::new().name(CHECK_THREAD.to_owned()).spawn(move || {
            let _ = end.send(catch_unwind(AssertUnwindSafe(check))); // nobody waits for one that is left behind
        });
        if let Err(error) = thread {
            return Some(Err(CheckFailure::new(format_args!(
                "no thread for the check can be started: {error}"
            ))));
        }
        match timeout(limit + GRACE, &mut running).await {
            Ok(Ok(Ok(result))) => result,
            Ok(Ok(Err(panic))) => Some(Err(panicked(&*panic))),
            Ok(Err(_)) => Some(Err(CheckFailure::new("the check's thread ended without a word"))),
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

fn panicked(payload: &(dyn Any + Send)) -> CheckFailure {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    CheckFailure::new(format_args!("the check panicked: {}", text.unwrap_or("with no text")))
}
