//! The live file and its rotation, at a line's end and by one `rename`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::claim::{Claim, is_at};
use super::compress::Compressor;
use super::config::FileConfig;
use super::names::Names;
use super::tail::{append, make_whole, whole_lines};
use super::voice::{NoticeKind, Voice};
use super::writer::Output;

/// Between two tries to set a full file aside.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct RotatingFile {
    config: FileConfig,
    voice: Voice,
    home: Option<Home>,
    live: Option<File>,
    /// Set while a full file cannot be set aside: not before this reading of the monotonic clock again.
    rotate_after: Option<Duration>,
}

/// The claimed names, and the thread that tidies among them.
#[derive(Debug)]
struct Home {
    // Dropped first: the thread must have ended before another process may claim the names.
    compressor: Option<Compressor>,
    claim: Claim,
}

impl RotatingFile {
    pub(super) fn new(config: FileConfig, voice: Voice) -> Self {
        voice.stats.set_path(Names::new(&config.path).live());
        Self { config, voice, home: None, live: None, rotate_after: None }
    }

    /// Sees to it that the live file is open and stands under its name; its length.
    pub(super) fn open(&mut self) -> io::Result<u64> {
        if let (Some(live), Some(home)) = (&self.live, &self.home)
            && is_at(live, &home.claim.names.live())
        {
            return Ok(live.metadata()?.len());
        }
        self.live = None;
        if self.home.as_ref().is_some_and(|home| !home.claim.stands()) {
            self.home = None;
        }
        if self.home.is_none() {
            self.home = Some(self.settle()?);
        }
        let Some(home) = &mut self.home else { return Err(io::ErrorKind::NotFound.into()) };
        fs::create_dir_all(home.claim.names.dir())?;
        home.claim.look_for_next()?;
        let path = home.claim.names.live();
        let live = OpenOptions::new().create(true).append(true).open(&path)?;
        make_whole(&path, &self.voice)?;
        let length = live.metadata()?.len();
        self.live = Some(live);
        Ok(length)
    }

    fn settle(&self) -> io::Result<Home> {
        let wanted = Names::new(&self.config.path);
        let claim = Claim::take(&wanted, &self.voice)?;
        self.voice.stats.set_path(claim.names.live());
        if claim.names != wanted {
            let taken = wanted.live().display().to_string();
            self.voice.notify(NoticeKind::FileInUse, &taken);
            self.voice.say("warning", "log_file_in_use", |line| {
                line.text("wanted", &taken);
                line.text("path", &claim.names.live().display().to_string());
            });
        }
        let compressor = Compressor::start(claim.names.clone(), self.config.keep, self.voice.clone())?;
        Ok(Home { compressor: Some(compressor), claim })
    }

    /// Sets the live file aside; false if that cannot be done now.
    fn rotate(&mut self) -> bool {
        let Some(home) = &mut self.home else { return false };
        let now = self.voice.clock.monotonic();
        if self.rotate_after.is_some_and(|after| now < after) {
            return false;
        }
        match fs::rename(home.claim.names.live(), home.claim.names.plain(home.claim.next)) {
            Ok(()) => {
                home.claim.next += 1;
                if let Some(compressor) = &home.compressor {
                    compressor.look();
                }
                self.live = None;
                self.rotate_after = None;
                self.voice.stats.rotations.fetch_add(1, Relaxed);
                true
            }
            Err(error) => {
                if self.rotate_after.is_none() {
                    self.voice.notify(NoticeKind::RotationFailed, &error.to_string());
                    self.voice
                        .say("warning", "log_rotation_failed", |line| line.text("error", &error.to_string()));
                }
                self.rotate_after = Some(now + RETRY);
                false
            }
        }
    }

    /// Opens a file with room and says how many of `lines` to write to it: a line is never divided, and one that is
    /// larger than a whole file has a file to itself.
    fn make_room(&mut self, lines: &[u8]) -> io::Result<usize> {
        loop {
            let length = self.open()?;
            let room = self.config.rotate_bytes.saturating_sub(length).min(lines.len() as u64);
            let fitting = whole_lines(&lines[..usize::try_from(room).unwrap_or(lines.len())]);
            if fitting > 0 {
                return Ok(fitting);
            }
            if length == 0 {
                return Ok(lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1));
            }
            if !self.rotate() {
                return Ok(lines.len());
            }
        }
    }
}

impl Output for RotatingFile {
    fn put(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let length = match self.make_room(lines) {
            Ok(length) => length,
            Err(error) => return (0, Err(error)),
        };
        let Some(live) = &mut self.live else { return (0, Err(io::ErrorKind::NotFound.into())) };
        let appended = append(live, &lines[..length]);
        if appended.torn {
            // Opening it again mends it.
            self.live = None;
        }
        (appended.bytes, appended.result)
    }

    fn quiet(&mut self) {
        if let Some(home) = &mut self.home {
            home.compressor = None;
        }
    }
}
