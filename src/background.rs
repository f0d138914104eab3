//! The library's own threads, which give way to those that trade.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that takes no processor from whoever wakes it: it runs on one that is free, or in its turn. So do the
/// threads that it starts.
///
/// # Errors
///
/// Where the system gives no thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(|| {
        give_way();
        work()
    })
}

/// On Linux the scheduling policy `SCHED_BATCH` (sched(7)). By the default one a thread that is woken may run in the place
/// of the one that woke it: the caller of the kill switch then waits for the whole evaluation, 0.2 ms instead of 10 µs.
#[cfg(target_os = "linux")]
fn give_way() {
    use rustix::process::{getpriority_process, setpriority_process};
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    /// Of a scale from 0 to 99 the value that stands for niceness 0: setting the policy sets a niceness, too.
    const NICENESS_0: u8 = 48;
    let Ok(value) = NICENESS_0.try_into() else { return };
    let (priority, batch) = (ThreadPriority::Crossplatform(value), NormalThreadSchedulePolicy::Batch);
    let niceness = getpriority_process(None);
    // A process may not be allowed to: its threads run as any other's.
    let _ = set_thread_priority_and_policy(thread_native_id(), priority, ThreadSchedulePolicy::Normal(batch));
    if let Ok(niceness) = niceness {
        let _ = setpriority_process(None, niceness);
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    /// Of the calling thread, from `proc_pid_stat(5)`: its niceness and its scheduling policy.
    fn scheduling() -> (i64, u32) {
        let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[16].parse().unwrap(), fields[38].parse().unwrap())
    }

    #[test]
    fn a_thread_in_the_background_and_what_it_starts_give_way_and_are_no_nicer() {
        const SCHED_BATCH: u32 = 3;
        let (niceness, policy) = scheduling();
        let background =
            super::spawn("test", || (scheduling(), std::thread::spawn(scheduling).join().unwrap()));
        assert_eq!(background.unwrap().join().unwrap(), ((niceness, SCHED_BATCH), (niceness, SCHED_BATCH)));
        assert_eq!(scheduling(), (niceness, policy), "only that thread");
    }
}
