//! Which file is ours, and what dead processes left beside it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::contents::Contents;
use super::store::{Opener, Refusal, Store};

/// How many names a process tries: two containers with one folder have the same process ids.
const TURNS: u32 = 16;

/// What the start came to.
pub(super) struct Claim {
    /// The open file, or why there is none.
    pub(super) store: Result<Store, String>,
    /// Where it is, or should be.
    pub(super) path: PathBuf,
    pub(super) contents: Contents,
    pub(super) set_aside: Vec<PathBuf>,
    pub(super) taken_over: Vec<PathBuf>,
}

/// A file's name in two parts. What stands between them tells processes apart that find the file taken.
struct Name {
    stem: String,
    suffix: String,
}

impl Name {
    fn of(path: &Path) -> Self {
        let text = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        Self {
            stem: text(path.file_stem()).unwrap_or_else(|| "outbox".to_owned()),
            suffix: text(path.extension()).map(|extension| format!(".{extension}")).unwrap_or_default(),
        }
    }

    /// Whether it is the name of a process that found the file taken.
    fn is_of_process(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&*self.stem).and_then(|rest| rest.strip_prefix('.'));
        rest.and_then(|rest| rest.strip_suffix(&*self.suffix)).is_some_and(|id| {
            id.starts_with(|c: char| c.is_ascii_digit()) && id.chars().all(|c| c.is_ascii_digit() || c == '-')
        })
    }
}

/// Opens `file`, or the first of its names that no living process holds, and takes over the files of dead ones.
pub(super) fn claim(opener: &Opener, file: &Path) -> Claim {
    let name = Name::of(file);
    let mut claim = Claim {
        store: Err(String::new()),
        path: file.to_owned(),
        contents: Contents::default(),
        set_aside: Vec::new(),
        taken_over: Vec::new(),
    };
    let process = std::process::id();
    let Name { stem, suffix } = &name;
    let names = (0..TURNS).map(|turn| match turn {
        0 => format!("{stem}{suffix}"),
        1 => format!("{stem}.{process}{suffix}"),
        turn => format!("{stem}.{process}-{turn}{suffix}"),
    });
    for own in names {
        claim.path = file.with_file_name(own);
        match open_or_replace(opener, &claim.path, &mut claim.set_aside) {
            Ok((store, contents)) => {
                claim.contents = contents;
                take_over(opener, &store, &name, &mut claim);
                claim.store = Ok(store);
                return claim;
            }
            Err(refusal) => {
                claim.store = Err(format!("{}: {refusal}", claim.path.display()));
                if !matches!(refusal, Refusal::Locked) {
                    return claim;
                }
            }
        }
    }
    claim
}

/// Opens `path`, and makes its folder where there is none; a damaged file is renamed, never deleted, and a new one begun.
pub(super) fn open_or_replace(
    opener: &Opener,
    path: &Path,
    set_aside: &mut Vec<PathBuf>,
) -> Result<(Store, Contents), Refusal> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    if fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        return open_new(opener, path);
    }
    match opener.open(path, true) {
        Err(Refusal::Damaged(why)) => {
            let kept = keep(path).map_err(|error| Refusal::Unavailable(format!("{why}; {error}")))?;
            set_aside.push(kept);
            open_new(opener, path)
        }
        other => other,
    }
}

/// Begins a file. What a full disk leaves of one half made holds nothing: it must not be there at the next try, which would
/// take it for a damaged one and keep it.
fn open_new(opener: &Opener, path: &Path) -> Result<(Store, Contents), Refusal> {
    opener.open(path, true).map_err(|refusal| match refusal {
        Refusal::Locked => refusal,
        Refusal::Damaged(why) | Refusal::Unavailable(why) => {
            let _ = fs::remove_file(path);
            Refusal::Unavailable(why)
        }
    })
}

fn keep(path: &Path) -> io::Result<PathBuf> {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ");
    let kept = PathBuf::from(format!("{}.damaged-{stamp}", path.display()));
    fs::rename(path, &kept)?;
    Ok(kept)
}

/// Moves what dead processes left into `store`. Each file is locked while that happens, and emptied before it is
/// deleted: a process that waits for the same lock finds nothing.
fn take_over(opener: &Opener, store: &Store, name: &Name, claim: &mut Claim) {
    for path in of_processes(claim.path.parent().unwrap_or(Path::new("")), name) {
        if path == claim.path {
            continue;
        }
        match opener.open(&path, false) {
            Ok((dead, left)) => {
                // A record that is in both was taken over by a process that died before it could empty the file.
                let adopted = claim.contents.adopt(left);
                if store.commit(&adopted).is_err() || dead.replace(&Contents::default()).is_err() {
                    continue;
                }
                dead.close();
                if fs::remove_file(&path).is_ok() {
                    claim.taken_over.push(path);
                }
            }
            Err(Refusal::Damaged(_)) => claim.set_aside.extend(keep(&path)),
            Err(Refusal::Locked | Refusal::Unavailable(_)) => {}
        }
    }
}

/// The files of processes that found the service's own file taken.
fn of_processes(folder: &Path, name: &Name) -> Vec<PathBuf> {
    // An empty path is none, and means the working directory.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|known| name.is_of_process(known)))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}
