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

    /// The stat of the collection under way: its callbacks run in the order in which they were registered, and reading
    /// it for each costs more than everything else that they do.
    struct Reading {
        /// Its folder stays open: finding it anew costs as much as reading a file in it.
        process: Process,
        stat: Mutex<Option<Stat>>,
    }

    impl Reading {
        fn refresh(&self) {
            *lock(&self.stat) = self.process.stat().ok();
        }

        fn of<T>(&self, figure: impl FnOnce(&Stat) -> T) -> Option<T> {
            lock(&self.stat).as_ref().map(figure)
        }
    }

    let Ok(process) = Process::myself() else { return };
    let ticks = float(procfs::ticks_per_second());
    let reading = Arc::new(Reading { process, stat: Mutex::default() });
    let of = Arc::clone(&reading);
    registry.observe(CPU, move |observer| {
        of.refresh();
        if let Some(used) = of.of(|stat| float(stat.utime + stat.stime)) {
            observer(&[], used / ticks);
        }
    });
    let of = Arc::clone(&reading);
    registry.observe(OPEN_FDS, move |observer| {
        if let Ok(count) = of.process.fd_count() {
            observer(&[], float(count as u64));
        }
    });
    let of = Arc::clone(&reading);
    registry.observe(MAX_FDS, move |observer| {
        if let Ok(limits) = of.process.limits()
            && let LimitValue::Value(limit) = limits.max_open_files.soft_limit
        {
            observer(&[], float(limit));
        }
    });
    let of = Arc::clone(&reading);
    registry.observe(VIRTUAL, move |observer| {
        if let Some(bytes) = of.of(|stat| stat.vsize) {
            observer(&[], float(bytes));
        }
    });
    let start = reading.process.stat().ok().and_then(|stat| {
        let boot = procfs::boot_time_secs().ok()?;
        Some(float(boot) + float(stat.starttime) / ticks)
    });
    registry.observe(RESIDENT, move |observer| {
        if let Some(bytes) = reading.of(|stat| stat.rss_bytes().get()) {
            observer(&[], float(bytes));
        }
    });
    registry.observe(START, move |observer| {
        if let Some(start) = start {
            observer(&[], start);
        }
    });
}
