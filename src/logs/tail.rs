//! The end of the live file: only whole lines may stand there, whatever a full disk or a SIGKILL has done.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::voice::Voice;

/// A file that lines are appended to.
pub(super) trait Appendable: Write {
    /// Takes the last `bytes` away again.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

impl Appendable for File {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let length = self.metadata()?.len();
        self.set_len(length.saturating_sub(bytes))
    }
}

/// What came of an attempt to append.
#[derive(Debug)]
pub(super) struct Appended {
    /// Bytes of whole lines that are in the file for good.
    pub(super) bytes: usize,
    pub(super) result: io::Result<()>,
    /// A part of a line is in the file and could not be taken away.
    pub(super) torn: bool,
}

/// Appends whole lines; of a line that finds no room nothing stays.
pub(super) fn append(file: &mut impl Appendable, lines: &[u8]) -> Appended {
    let mut done = 0;
    while done < lines.len() {
        let error = match file.write(&lines[done..]) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(written) => {
                done += written;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let whole = whole_lines(&lines[..done]);
        let torn = whole < done && file.cut((done - whole) as u64).is_err();
        return Appended { bytes: whole, result: Err(error), torn };
    }
    Appended { bytes: done, result: Ok(()), torn: false }
}

/// The length of the whole lines at the start of `bytes`.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

/// Of a torn line so much is kept for the reader.
const TORN_KEPT: usize = 64 << 10;

/// Makes the file at `path` whole lines again. The part of a line at its end, which no `write(2)` has completed, becomes
/// the text of a line of our own.
pub(super) fn make_whole(path: &Path, voice: &Voice) -> io::Result<()> {
    if let Some(torn) = mend(path)? {
        voice.stats.torn.fetch_add(1, Relaxed);
        let line = voice.line("warning", "log_line_torn", |line| {
            line.text("text", &torn[..torn.floor_char_boundary(TORN_KEPT)]);
            line.bare("bytes", torn.len());
        });
        // Without room for it the text is lost: it never was a line.
        append(&mut OpenOptions::new().append(true).open(path)?, line.as_bytes());
    }
    Ok(())
}

/// Takes the part of a line at the end of the file away and returns it.
fn mend(path: &Path) -> io::Result<Option<String>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let mut window = 4096;
    loop {
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        (&file).take(length - start).read_to_end(&mut tail)?;
        let whole = whole_lines(&tail);
        if whole > 0 || start == 0 {
            if whole == tail.len() {
                return Ok(None);
            }
            file.set_len(start + whole as u64)?;
            return Ok(Some(String::from_utf8_lossy(&tail[whole..]).into_owned()));
        }
        window *= 4;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// A disk that takes what `moods` says: so many bytes, or an error.
    struct Moody {
        content: Vec<u8>,
        moods: Vec<Option<usize>>,
    }

    impl Write for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.moods.pop() {
                Some(None) => Err(io::ErrorKind::StorageFull.into()),
                Some(Some(room)) => {
                    let taken = room.min(bytes.len());
                    self.content.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                }
                None => {
                    self.content.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Appendable for Moody {
        fn cut(&mut self, bytes: u64) -> io::Result<()> {
            self.content.truncate(self.content.len() - usize::try_from(bytes).unwrap());
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn short_writes_and_errors_leave_whole_lines_each_once(
            lines in proptest::collection::vec("[a-z]{0,12}\n", 1..20),
            moods in proptest::collection::vec(proptest::option::of(0_usize..30), 0..30),
        ) {
            let all = lines.concat().into_bytes();
            let mut disk = Moody { content: Vec::new(), moods };
            let mut done = 0;
            while done < all.len() {
                let appended = append(&mut disk, &all[done..]);
                done += appended.bytes;
                prop_assert!(!appended.torn);
                prop_assert_eq!(&disk.content, &all[..done]);
                prop_assert_eq!(whole_lines(&disk.content), disk.content.len());
            }
        }

        #[test]
        fn a_torn_end_is_taken_away_and_nothing_else(
            lines in proptest::collection::vec("[a-z]{0,3000}\n", 0..6),
            torn in "[a-z]{0,9000}",
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let whole = lines.concat();
            fs::write(file.path(), format!("{whole}{torn}")).unwrap();
            let taken = mend(file.path()).unwrap();
            prop_assert_eq!(taken.unwrap_or_default(), torn);
            prop_assert_eq!(fs::read_to_string(file.path()).unwrap(), whole);
        }
    }
}
