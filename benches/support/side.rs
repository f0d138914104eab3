//! A side of a comparison in a process of its own, because a process has one telemetry and one subscriber: as a service
//! does. The bench runs itself again, in an empty folder and with an empty environment, and asks for times.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::unused_self,
    dead_code,
    reason = "shared by benches, which fail where they stand; only a side has what is asked of it"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Names the side that a process is, and what it was given.
const SIDE: &str = "BENCH_SIDE";
const GIVEN: &str = "BENCH_GIVEN";

/// Another process, ready to be asked. It ends when this is dropped.
pub(crate) struct Side {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _folder: TempDir,
}

/// A side's name, and what it does.
pub(crate) type Role = (&'static str, fn(&Requests));

/// What the bench asks of this process.
pub(crate) struct Requests {
    given: String,
}

/// In the process of a side: is that side, and does not return. In the bench itself: nothing.
pub(crate) fn serve(sides: &[Role]) {
    let Ok(name) = std::env::var(SIDE) else { return };
    let (_, side) = sides.iter().find(|(known, _)| *known == name).unwrap();
    side(&Requests { given: std::env::var(GIVEN).unwrap() });
    std::process::exit(0);
}

impl Side {
    /// Starts the side `name` and returns when it is ready.
    pub(crate) fn start(name: &'static str, given: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env_clear()
            .env(SIDE, name)
            .env(GIVEN, given)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { name, child, input, output, _folder: folder }
    }

    /// What the side says next.
    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{} has ended", self.name);
        line.trim_end().to_owned()
    }

    /// Tells the side something.
    pub(crate) fn tell(&mut self, line: impl std::fmt::Display) {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
    }

    /// The time that so many rounds of `work` take.
    pub(crate) fn time(&mut self, work: &str, rounds: u64) -> Duration {
        self.tell(format_args!("{work} {rounds}"));
        Duration::from_nanos(self.says().parse().unwrap())
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.input.take());
        let ended = self.child.wait().unwrap();
        if !std::thread::panicking() {
            assert!(ended.success(), "{} failed", self.name);
        }
    }
}

impl Requests {
    /// What the bench gave this side.
    pub(crate) fn given(&self) -> &str {
        &self.given
    }

    /// Says something to the bench.
    pub(crate) fn say(&self, line: impl std::fmt::Display) {
        println!("{line}");
    }

    /// What the bench tells next; nothing when it is gone.
    pub(crate) fn heard(&self) -> Option<String> {
        std::io::stdin().lines().next().map(Result::unwrap)
    }

    /// Answers until the bench has heard enough.
    pub(crate) fn answer(&self, mut time: impl FnMut(&str, u64) -> Duration) {
        while let Some(request) = self.heard() {
            let (work, rounds) = request.split_once(' ').unwrap();
            self.say(time(work, rounds.parse().unwrap()).as_nanos());
        }
    }
}

const BURST: u64 = 500;

/// Times `rounds` of work in bursts, as a service has them; between two of them `settle` lets what they left behind be
/// done, outside the time. So the caller's own cost is timed, and not how fast a disk or a collector is. Every burst is as
/// long, on either side: a shorter one costs more a call, and whoever settles slowly is asked for fewer rounds.
pub(crate) fn bursts(rounds: u64, mut round: impl FnMut(), mut settle: impl FnMut()) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..in_bursts(rounds) / BURST {
        let start = Instant::now();
        for _ in 0..BURST {
            round();
        }
        total += start.elapsed();
        settle();
    }
    #[expect(clippy::cast_precision_loss, reason = "a bench makes far fewer than 2^52 rounds")]
    total.mul_f64(rounds as f64 / in_bursts(rounds).max(1) as f64)
}

/// How many rounds [`bursts`] makes of those that it is asked for.
pub(crate) const fn in_bursts(rounds: u64) -> u64 {
    rounds.div_ceil(BURST) * BURST
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// How many lines a file has.
pub(crate) fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap().lines().count()
}
