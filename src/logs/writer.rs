//! The thread that writes: batches from a queue to an output, again and again until the output takes them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::filter::EventFilter;
use super::queue::{Batch, Queue, never_wait_here};
use super::voice::{NoticeKind, Voice};
use crate::background;

/// Between two tries while the disk refuses.
const RETRY: Duration = Duration::from_millis(200);
/// Between two lines about lost lines.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Whether the refusal ends only when somebody changes something. A full disk may have room again, a network come
/// back or a file be closed without that, and so within the time that a shutdown has.
fn lasts(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::NotFound
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AlreadyExists
            | Kind::InvalidFilename
            | Kind::Unsupported
    )
}

/// Where whole lines go.
pub(super) trait Output: Send + 'static {
    /// Writes the first of `lines`, or all. How many bytes, whole lines, are written for good; an error is about the
    /// line after them.
    fn put(&mut self, lines: &[u8]) -> (usize, io::Result<()>);

    /// Ends what works beside the writing thread. What that says as its last is still written.
    fn quiet(&mut self) {}
}

pub(super) struct Writer<O> {
    pub(super) queue: Arc<Queue>,
    pub(super) output: O,
    /// Tells what happened to lines; without it (the terminal) losses pass in silence, since the file has the lines.
    pub(super) voice: Option<Voice>,
    /// A filter whose time-limited setting this thread takes back.
    pub(super) filter: Option<EventFilter>,
    /// Since when, on the monotonic clock, the output refuses, and why.
    pub(super) refused: Option<(Duration, String)>,
}

impl<O: Output> Writer<O> {
    pub(super) fn spawn(self, name: &str) -> io::Result<()> {
        background::spawn(name, || {
            never_wait_here();
            self.run();
        })?;
        Ok(())
    }

    fn run(mut self) {
        let mut batch = Batch::default();
        let mut next_tell = Duration::ZERO;
        loop {
            let open = self.queue.take(&mut batch);
            self.write(&mut batch);
            self.tick();
            next_tell = self.tell_losses(next_tell, open);
            if !open {
                break;
            }
        }
        self.output.quiet();
        self.queue.take(&mut batch);
        self.write(&mut batch);
        let Self { queue, output, .. } = self;
        drop(output);
        queue.finish();
    }

    fn write(&mut self, batch: &mut Batch) {
        while !batch.rest().is_empty() {
            let (bytes, result) = self.output.put(batch.rest());
            if bytes > 0 {
                self.recovered();
                let lines = batch.advance(bytes);
                self.queue.wrote(lines);
            }
            let Err(error) = result else { continue };
            self.refused(&error);
            self.tick();
            if !self.queue.pause(RETRY, lasts(&error)) {
                self.queue.abandon(batch);
            }
        }
    }

    fn tick(&self) {
        if let Some(filter) = &self.filter
            && let Some(spec) = filter.revert_if_due()
            && let Some(voice) = &self.voice
        {
            voice.say("info", "log_filter_reverted", |line| line.text("filter", &spec));
        }
    }

    fn refused(&mut self, error: &io::Error) {
        if let Some(voice) = &self.voice
            && self.refused.is_none()
        {
            self.refused = Some((voice.clock.monotonic(), error.to_string()));
            voice.refused(error);
        }
    }

    fn recovered(&mut self) {
        if let Some((since, error)) = self.refused.take()
            && let Some(voice) = &self.voice
        {
            voice.stats.set_trouble(None);
            voice.notify(NoticeKind::Recovered, &error);
            let failed_for = voice.clock.monotonic().saturating_sub(since);
            voice.say("warning", "log_writing_recovered", |line| {
                line.text("error", &error);
                line.float("failed_for_seconds", failed_for.as_secs_f64());
            });
        }
    }

    /// One line for all that was lost since the last one, once the pressure is over.
    fn tell_losses(&self, next: Duration, open: bool) -> Duration {
        let Some(voice) = &self.voice else { return next };
        let now = voice.clock.monotonic();
        if (open && now < next) || self.refused.is_some() {
            return next;
        }
        let Some(losses) = self.queue.losses_to_tell() else { return next };
        let level = if losses.audit > 0 { "error" } else { "warning" };
        voice.say(level, "log_lines_lost", |line| {
            line.bare("queue_full", losses.queue_full);
            line.bare("write_failed", losses.write_failed);
            line.bare("audit", losses.audit);
        });
        now + TELL_EVERY
    }
}
