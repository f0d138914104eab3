//! Which process writes which files, and what becomes of the files of a process that is gone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::process;

use super::names::Names;
use super::tail::make_whole;
use super::voice::{NoticeKind, Voice};

/// Names that no other process writes to while this lives.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) names: Names,
    lock: Option<File>,
    /// The number of the next file to be set aside.
    pub(super) next: u64,
}

impl Claim {
    /// Claims `wanted`, or the first free name of this process. Whoever gets `wanted` takes over the files of processes
    /// that no longer live.
    pub(super) fn take(wanted: &Names, voice: &Voice) -> io::Result<Self> {
        fs::create_dir_all(wanted.dir())?;
        let own = (0..64).map(|turn| wanted.of_process(process::id(), turn));
        for names in std::iter::once(wanted.clone()).chain(own) {
            if let Held::Yes(lock) = hold(&names.lock())? {
                let mut claim = Self { names, lock, next: 1 };
                claim.look_for_next()?;
                if claim.names == *wanted
                    && let Err(error) = claim.take_over_dead(voice)
                {
                    voice.notify(NoticeKind::TakeOverFailed, &error.to_string());
                    voice.say("warning", "log_take_over_failed", |line| {
                        line.text("error", &error.to_string());
                    });
                }
                return Ok(claim);
            }
        }
        Err(io::Error::other("every name for the log file is in use"))
    }

    /// False when somebody has deleted or replaced the lock file, so that another process may have claimed the names.
    pub(super) fn stands(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock| is_at(lock, &self.names.lock()))
    }

    /// A number that no file has.
    pub(super) fn look_for_next(&mut self) -> io::Result<()> {
        let highest = self.names.set_aside()?.last_key_value().map_or(0, |(number, _)| *number);
        self.next = self.next.max(highest + 1);
        Ok(())
    }

    /// Renames the files of dead processes into the row of ours. Each step leaves a state from which the next start
    /// goes on.
    fn take_over_dead(&mut self, voice: &Voice) -> io::Result<()> {
        for dead in self.names.of_other_processes()? {
            let Held::Yes(lock) = hold(&dead.lock())? else { continue };
            for (number, forms) in dead.set_aside()? {
                if forms.partial {
                    fs::remove_file(dead.partial(number))?;
                }
                if forms.packed {
                    if forms.plain {
                        fs::remove_file(dead.plain(number))?;
                    }
                    fs::rename(dead.packed(number), self.names.packed(self.next))?;
                    self.next += 1;
                } else if forms.plain {
                    fs::rename(dead.plain(number), self.names.plain(self.next))?;
                    self.next += 1;
                }
            }
            match fs::metadata(dead.live()) {
                Ok(there) if there.len() > 0 => {
                    make_whole(&dead.live(), voice)?;
                    fs::rename(dead.live(), self.names.plain(self.next))?;
                    self.next += 1;
                }
                Ok(_) => fs::remove_file(dead.live())?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            fs::remove_file(dead.lock())?;
            drop(lock);
        }
        Ok(())
    }
}

enum Held {
    /// `None` on a file system that has no locks.
    Yes(Option<File>),
    No,
}

fn hold(path: &Path) -> io::Result<Held> {
    loop {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        match file.try_lock() {
            // Whoever took the names over may have deleted the file between our opening and locking it.
            Ok(()) if is_at(&file, path) => return Ok(Held::Yes(Some(file))),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Held::No),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(Held::Yes(None));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether `path` leads to `file`.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(there)) => (file.dev(), file.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Without inodes a replaced file is not noticed.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
