//! `process_*`, as Prometheus' client libraries name them.

use crate::metrics::registry::Registry;

#[cfg(not(target_os = "linux"))]
pub(crate) fn observe_process(_registry: &Registry) {}

/// Has every collection read `/proc/self`. What cannot be read is absent, never 0.
#[cfg(target_os = "linux")]
pub(crate) fn observe_process(registry: &Registry) {
    use std::sync::{Arc, Mutex};

    use procfs::WithCurrentSystemInfo;
    use procfs::process::{LimitValue, Process, Stat};

    use crate::lock::lock;
    use crate::metrics::catalog::{self, Instrument};

    const CPU: &Instrument = catalog::named("process_cpu_seconds_total");
    const OPEN_FDS: &Instrument = catalog::named("process_open_fds");
    const MAX_FDS: &Instrument = catalog::named("process_max_fds");
    const VIRTUAL: &Instrument = catalog::named("process_virtual_memory_bytes");
    const RESIDENT: &Instrument = catalog::named("process_resident_memory_bytes");
    const START: &Instrument = catalog::named("process_start_time_seconds");

    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53, which no figure here reaches")]
    fn float(value: u64) -> f64 {
        value as f64
    }

    fn stat() -> Option<Stat> {
        Process::myself().and_then(|process| process.stat()).ok()
    }

    /// The stat of the collection under way: its callbacks run in the order in which they were registered, and reading
    /// it for each costs more than everything else that they do.
    #[derive(Clone, Default)]
    struct Read(Arc<Mutex<Option<Stat>>>);

    impl Read {
        fn afresh<T>(&self, figure: impl FnOnce(&Stat) -> T) -> Option<T> {
            let mut read = lock(&self.0);
            *read = stat();
            read.as_ref().map(figure)
        }

        fn again<T>(&self, figure: impl FnOnce(&Stat) -> T) -> Option<T> {
            lock(&self.0).as_ref().map(figure)
        }
    }

    let ticks = float(procfs::ticks_per_second());
    let read = Read::default();
    let first = read.clone();
    registry.observe(CPU, move |observer| {
        if let Some(used) = first.afresh(|stat| float(stat.utime + stat.stime)) {
            observer(&[], used / ticks);
        }
    });
    registry.observe(OPEN_FDS, |observer| {
        if let Ok(count) = Process::myself().and_then(|process| process.fd_count()) {
            observer(&[], float(count as u64));
        }
    });
    registry.observe(MAX_FDS, |observer| {
        if let Ok(limits) = Process::myself().and_then(|process| process.limits())
            && let LimitValue::Value(limit) = limits.max_open_files.soft_limit
        {
            observer(&[], float(limit));
        }
    });
    let second = read.clone();
    registry.observe(VIRTUAL, move |observer| {
        if let Some(bytes) = second.again(|stat| stat.vsize) {
            observer(&[], float(bytes));
        }
    });
    registry.observe(RESIDENT, move |observer| {
        if let Some(bytes) = read.again(|stat| stat.rss_bytes().get()) {
            observer(&[], float(bytes));
        }
    });
    let start = stat().and_then(|stat| {
        let boot = procfs::boot_time_secs().ok()?;
        Some(float(boot) + float(stat.starttime) / ticks)
    });
    registry.observe(START, move |observer| {
        if let Some(start) = start {
            observer(&[], start);
        }
    });
}
