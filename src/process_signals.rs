//! The operating system's wish that the process ends.

use std::io;

/// Calls `end` with the exit code that belongs to the signal, on a thread of its own, at the first `SIGTERM` or
/// `SIGINT`. The signals are caught when this returns.
pub(crate) fn on_end(end: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = {
        let _inside = runtime.enter();
        asked()?
    };
    std::thread::Builder::new()
        .name("telemetry-signals".into())
        .spawn(move || end(runtime.block_on(asked)))?;
    Ok(())
}

#[cfg(unix)]
fn asked() -> io::Result<impl Future<Output = i32> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => 128 + SignalKind::terminate().as_raw_value(),
            _ = interrupt.recv() => 128 + SignalKind::interrupt().as_raw_value(),
        }
    })
}

#[cfg(windows)]
fn asked() -> io::Result<impl Future<Output = i32> + Send> {
    let mut pressed = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        pressed.recv().await;
        130
    })
}
