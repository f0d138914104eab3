//! The thread that compresses and deletes the files that were set aside.
//!
//! It is told nothing but "look": what is to be done, it reads from the directory. So a start after a SIGKILL goes on
//! where the dead process stopped, by the same code. A `.gz` gets its name only when it is whole and synchronised, and
//! only then is its source deleted; where both exist, the source is what remains to be deleted.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::names::Names;
use super::queue::never_wait_here;
use super::voice::{NoticeKind, Voice};
use crate::background;

/// 0.9 ms a megabyte; level 6 takes 7.6 for a tenth less.
const LEVEL: Compression = Compression::fast();
/// Between two tries after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The thread, which ends with this.
#[derive(Debug)]
pub(super) struct Compressor {
    look: Option<SyncSender<()>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Compressor {
    /// Starts the thread, which looks at once.
    pub(super) fn start(names: Names, keep: usize, voice: Voice) -> io::Result<Self> {
        let (look, looks) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { names, keep, stop: stop.clone(), voice };
        let thread = background::spawn("log-compress", move || {
            never_wait_here();
            work.run(&looks);
        })?;
        Ok(Self { look: Some(look), stop, thread: Some(thread) })
    }

    pub(super) fn look(&self) {
        if let Some(look) = &self.look {
            // Full: it is going to look anyway.
            let _ = look.try_send(());
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.look = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    names: Names,
    keep: usize,
    stop: Arc<AtomicBool>,
    voice: Voice,
}

impl Work {
    fn run(&self, looks: &Receiver<()>) {
        let mut failing = false;
        loop {
            let outcome = self.tidy();
            if let Err(error) = &outcome
                && !failing
            {
                self.voice.notify(NoticeKind::CompressionFailed, &error.to_string());
                self.voice
                    .say("warning", "log_compression_failed", |line| line.text("error", &error.to_string()));
            }
            failing = outcome.is_err();
            let look = if failing {
                looks.recv_timeout(RETRY)
            } else {
                looks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            if self.stopped() || look == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn tidy(&self) -> io::Result<()> {
        let found = self.names.set_aside()?;
        let whole = found.values().filter(|forms| forms.plain || forms.packed).count();
        let mut too_many = whole.saturating_sub(self.keep);
        for (number, forms) in found {
            if self.stopped() {
                return Ok(());
            }
            if forms.partial {
                fs::remove_file(self.names.partial(number))?;
            }
            if !forms.plain && !forms.packed {
                continue;
            }
            if too_many > 0 {
                too_many -= 1;
                if forms.plain {
                    fs::remove_file(self.names.plain(number))?;
                }
                if forms.packed {
                    fs::remove_file(self.names.packed(number))?;
                }
            } else if forms.plain && forms.packed {
                fs::remove_file(self.names.plain(number))?;
            } else if forms.plain {
                self.pack(number)?;
            }
        }
        Ok(())
    }

    fn pack(&self, number: u64) -> io::Result<()> {
        let (plain, partial) = (self.names.plain(number), self.names.partial(number));
        match self.squeeze(number) {
            Ok(true) => {}
            Ok(false) => return fs::remove_file(partial),
            Err(error) => {
                // What it has taken of a full disk must not stay there.
                let _ = fs::remove_file(partial);
                return Err(error);
            }
        }
        fs::rename(partial, self.names.packed(number))?;
        // The name must outlast a power failure before the source may go.
        File::open(self.names.dir())?.sync_all()?;
        fs::remove_file(plain)
    }

    /// False when it was stopped on the way.
    fn squeeze(&self, number: u64) -> io::Result<bool> {
        let mut source = File::open(self.names.plain(number))?;
        let mut packed = GzEncoder::new(File::create(self.names.partial(number))?, LEVEL);
        let mut buffer = vec![0; 256 << 10];
        loop {
            if self.stopped() {
                return Ok(false);
            }
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => packed.write_all(&buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        packed.finish()?.sync_all()?;
        Ok(true)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
