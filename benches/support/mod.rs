//! What the benches share: how long each measures, and figures of single events, which criterion does not keep.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::path::PathBuf;
use std::time::Duration;

use criterion::Criterion;

/// The folder in which figures are left for the report, the same as criterion's.
pub(crate) fn home() -> PathBuf {
    std::env::var_os("CRITERION_HOME").map_or_else(|| PathBuf::from("target/criterion"), PathBuf::from)
}

/// Whether everything is only tried once, as `cargo test --benches` does, and nothing is measured.
pub(crate) fn is_trial() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

/// Short windows: the report repeats the whole run and takes the round with the median ratio, which a noisy neighbour
/// disturbs less than a longer window.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .sample_size(20)
        .nresamples(2_000)
        .without_plots()
        .configure_from_args()
}

/// How many events to time: one when everything is only tried.
pub(crate) fn events(number: usize) -> usize {
    if is_trial() { 1 } else { number }
}

/// Keeps the times of single events under `group/name`, beside criterion's figures.
pub(crate) fn keep(id: &str, mut times: Vec<Duration>) {
    assert!(!times.is_empty(), "{id} has no events");
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let (p50, p99) = (at(50), at(99));
    println!("{id:<40} {} events, p50 {p50:?}, p99 {p99:?}", times.len());
    if is_trial() {
        return;
    }
    let folder = home().join(id);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let figures = serde_json::json!({"p50": p50.as_nanos(), "p99": p99.as_nanos()});
    std::fs::write(folder.join("events.json"), figures.to_string()).expect("the figures can be written");
}
