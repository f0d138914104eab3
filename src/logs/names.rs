//! The names of a log's files. For `logs/backend.log`:
//!
//! | name | what |
//! |---|---|
//! | `backend.log` | the live file |
//! | `backend.log.000042` | the 42nd file that was set aside, waiting to be compressed |
//! | `backend.log.000042.gz.tmp` | its compression, under way |
//! | `backend.log.000042.gz` | its compression, whole |
//! | `backend.pid4711.log` | the live file of a second process; its others are named after it |
//! | `.backend.log.lock` | held by the process that writes these files |
//!
//! Numbers only grow, so that no file but the newest is ever renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    dir: PathBuf,
    base: String,
}

/// Under which names a file that was set aside exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) plain: bool,
    pub(super) partial: bool,
    pub(super) packed: bool,
}

impl Names {
    pub(super) fn new(path: &Path) -> Self {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base = path.file_name().map_or_else(|| "service.log".into(), |name| name.to_string_lossy());
        Self { dir: dir.to_owned(), base: base.into_owned() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn live(&self) -> PathBuf {
        self.dir.join(&self.base)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join(format!(".{}.lock", self.base))
    }

    pub(super) fn plain(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}.{number:06}", self.base))
    }

    pub(super) fn partial(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}.{number:06}.gz.tmp", self.base))
    }

    pub(super) fn packed(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}.{number:06}.gz", self.base))
    }

    /// The files of a process that finds these names taken. `turn` tells those of one process apart.
    pub(super) fn of_process(&self, process: u32, turn: u32) -> Self {
        let (stem, extension) = self.split();
        let turn = if turn == 0 { String::new() } else { format!("-{turn}") };
        Self { dir: self.dir.clone(), base: format!("{stem}.pid{process}{turn}{extension}") }
    }

    /// The files that were set aside, by number.
    pub(super) fn set_aside(&self) -> io::Result<BTreeMap<u64, Forms>> {
        let mut found = BTreeMap::<u64, Forms>::new();
        self.each_name(|name| {
            let Some(rest) = name.strip_prefix(&self.base).and_then(|rest| rest.strip_prefix('.')) else {
                return;
            };
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (Ok(number), form) = (rest[..digits].parse(), &rest[digits..]) else { return };
            match form {
                "" => found.entry(number).or_default().plain = true,
                ".gz" => found.entry(number).or_default().packed = true,
                ".gz.tmp" => found.entry(number).or_default().partial = true,
                _ => {}
            }
        })?;
        Ok(found)
    }

    /// Names that other processes use or have used while these were taken.
    pub(super) fn of_other_processes(&self) -> io::Result<BTreeSet<Self>> {
        let (stem, extension) = self.split();
        let mut found = BTreeSet::new();
        self.each_name(|name| {
            let name = name.strip_prefix('.').unwrap_or(name);
            let Some(rest) = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix(".pid")) else {
                return;
            };
            let length = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
            let after = rest[length..].strip_prefix(extension);
            if length > 0 && after.is_some_and(|after| after.is_empty() || after.starts_with('.')) {
                let base = format!("{stem}.pid{}{extension}", &rest[..length]);
                found.insert(Self { dir: self.dir.clone(), base });
            }
        })?;
        Ok(found)
    }

    fn split(&self) -> (&str, &str) {
        let dot = self.base.rfind('.').filter(|dot| *dot > 0).unwrap_or(self.base.len());
        self.base.split_at(dot)
    }

    fn each_name(&self, mut each: impl FnMut(&str)) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            if let Some(name) = entry?.file_name().to_str() {
                each(name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_not_taken_for_a_process_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::new(&dir.path().join("worker.log"));
        for other in
            ["worker-1.log", "worker.pid.log", "worker.pid7.txt", "worker.pid7x.log", "worker2.pid7.log"]
        {
            fs::write(dir.path().join(other), "").unwrap();
        }
        assert!(names.of_other_processes().unwrap().is_empty());
        for file in [".worker.pid7.log.lock", "worker.pid8-1.log.000001.gz"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let expected = BTreeSet::from([names.of_process(7, 0), names.of_process(8, 1)]);
        assert_eq!(names.of_other_processes().unwrap(), expected);
    }

    #[test]
    fn only_files_with_a_number_were_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::new(&dir.path().join("worker.log"));
        for file in ["worker.log", "worker.log.old", "worker.log.", "worker.log.1.bz2", "other.log.1"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        assert!(names.set_aside().unwrap().is_empty());
        for file in [names.plain(3), names.packed(3), names.partial(1_234_567)] {
            fs::write(file, "").unwrap();
        }
        let both = Forms { plain: true, packed: true, partial: false };
        let partial = Forms { partial: true, ..Forms::default() };
        assert_eq!(names.set_aside().unwrap(), BTreeMap::from([(3, both), (1_234_567, partial)]));
    }
}
