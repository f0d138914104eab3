//! A service in a process of its own: the test binary runs itself again, for the one test that asks, in an empty folder
//! and on a free port.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::any::type_name;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Names the test whose service a process is.
const SERVICE: &str = "TEST_SERVICE";
const PORT: &str = "SA_MONITORING__PROMETHEUS_PORT";
/// Longer than anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The service of a test: `body`, a closure that stands in the test itself, in a process of its own.
///
/// The process runs the test up to this call, so the call comes first; it does not return there.
pub(crate) fn service<F: FnOnce()>(body: F) -> Service {
    let test = type_name::<F>().strip_suffix("::{{closure}}").unwrap();
    let (_, test) = test.split_once("::").unwrap();
    if std::env::var(SERVICE).is_ok_and(|service| service == test) {
        body();
        std::process::exit(0);
    }
    Service {
        test: test.to_owned(),
        folder: tempfile::tempdir().unwrap(),
        variables: vec![
            (SERVICE.to_owned(), test.to_owned()),
            ("OTEL_SERVICE_NAME".to_owned(), "desk".to_owned()),
            (PORT.to_owned(), free_port().to_string()),
        ],
    }
}

/// In the process of the service: the port that it is given.
pub(crate) fn port() -> u16 {
    std::env::var(PORT).unwrap().parse().unwrap()
}

/// In the process of the service: returns when the test says so, or is gone.
pub(crate) fn until_told() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// In the process of the service: what the test says next; empty when it is gone.
pub(crate) fn told() -> String {
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    line.trim().to_owned()
}

/// A port that nobody listens on, outside the range that systems take for outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 150).unwrap() * 100;
    loop {
        let port = 15_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 15_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// What `look` finds, as soon as it does.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come about in {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
}

/// A process that can be started, and its folder.
pub(crate) struct Service {
    test: String,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Service {
    /// With a variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a file in its folder.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// With this settings file.
    pub(crate) fn settings(self, text: &str) -> Self {
        self.file("config/settings.yaml", text)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.variables.iter().find(|(name, _)| name == PORT).unwrap().1.parse().unwrap()
    }

    /// Starts it. Further variables win; several processes of one service share its folder.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Running {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let output = |name: &str| self.folder().join(format!("{name}-{number}"));
        let (out, err) = (output("out"), output("err"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars_os() {
            let ours = ["SA_", "OTEL_", "SLACK_", "TELEGRAM_", "RUST_LOG"];
            if name.to_str().is_some_and(|name| ours.iter().any(|prefix| name.starts_with(prefix))) {
                command.env_remove(name);
            }
        }
        command
            .args([&self.test, "--exact", "--nocapture", "--test-threads=1"])
            .current_dir(self.folder())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), folder: self.folder().to_owned(), out, err }
    }

    /// Runs it to its end, which must be a good one.
    pub(crate) fn run(&self, variables: &[(&str, &str)]) -> Finished {
        self.start(variables).finish()
    }

    /// The lines of its log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        log_lines(self.folder(), "desk")
    }
}

/// The lines in the log of `service` so far.
pub(crate) fn log_lines(folder: &Path, service: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(format!("logs/{service}.log"))).unwrap_or_default();
    // The last line may be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of this event.
pub(crate) fn events<'a>(log: &'a [Value], event: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["event"] == event).collect()
}

/// A process; killed when dropped.
pub(crate) struct Running {
    child: Child,
    folder: PathBuf,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// What it has written to standard output so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// Says a line, which [`told`] returns there.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// `SIGKILL`: whatever it is doing, it does nothing more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to end, and waits for that.
    pub(crate) fn finish(mut self) -> Finished {
        drop(self.child.stdin.take());
        let until = Instant::now() + PATIENCE;
        let status: Option<ExitStatus> = loop {
            match self.child.try_wait().unwrap() {
                None if Instant::now() < until => sleep(Duration::from_millis(5)),
                status => break status,
            }
        };
        let [out, err] = [&self.out, &self.err].map(|path| fs::read_to_string(path).unwrap());
        assert!(
            status.is_some_and(|status| status.success()),
            "the service ended with {status:?}\n{out}\n{err}"
        );
        Finished { out, err, log: log_lines(&self.folder, "desk") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process left.
pub(crate) struct Finished {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) log: Vec<Value>,
}
