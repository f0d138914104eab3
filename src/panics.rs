//! A panic of the service is one log line with the order that it happened in, and a count.

use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use crate::health::CHECK_THREAD;
use crate::logs::Logs;
use crate::metrics::CALLBACK_THREAD;

/// How long a process that is about to abort waits for its last lines.
const LAST_LINES: Duration = Duration::from_millis(250);

static PANICS: AtomicU64 = AtomicU64::new(0);
static INSTALLED: Once = Once::new();

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How many panics there were.
pub(crate) fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Hooks into panics, before whatever is hooked in already.
pub(crate) fn install(logs: Arc<Logs>) {
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A callback that panics at every scrape is told once, by whoever called it; so is a check.
            if matches!(std::thread::current().name(), Some(CALLBACK_THREAD | CHECK_THREAD)) {
                return;
            }
            PANICS.fetch_add(1, Ordering::Relaxed);
            // A panic while one is being told must not tell of itself for ever.
            let nested = INSIDE.try_with(|inside| inside.replace(true)).unwrap_or(true);
            if !nested {
                tell(panic);
                let _ = INSIDE.try_with(|inside| inside.set(false));
            }
            // With the main thread the process ends as well, and with it a handle that stands in a static.
            let is_main = std::thread::current().name() == Some("main");
            if nested || is_main || cfg!(panic = "abort") {
                // What does not reach the disk in time is lost with the process.
                let _ = logs.flush(LAST_LINES);
            }
            before(panic);
        }));
    });
}

fn tell(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        target: "trading_telemetry",
        panic_message = panic.payload_as_str().unwrap_or("(not text)"),
        location = panic.location().map(tracing::field::display),
        thread = thread.name(),
        "service_panicked"
    );
}
