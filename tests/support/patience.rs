//! Waiting on a busy machine.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Waits until it holds, half a minute at most.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// How long the answers of each path took.
#[derive(Default)]
pub(crate) struct Answers(BTreeMap<String, Vec<Duration>>);

impl Answers {
    pub(crate) fn add(&mut self, path: &str, took: Duration) {
        self.0.entry(path.to_owned()).or_default().push(took);
    }

    /// That none of the paths waits for what takes so long. One answer may be slow because the machine is busy; half of
    /// them are not.
    #[track_caller]
    pub(crate) fn assert_none_waits(mut self, long: Duration) {
        for (path, took) in &mut self.0 {
            took.sort_unstable();
            let median = took[took.len() / 2];
            assert!(median < long / 2, "{path} takes {median:?}, as long as what may take {long:?}");
        }
    }
}
