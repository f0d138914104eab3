//! Alertmanager and Prometheus, the real programs.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::process::{eventually, free_port, until_told};

/// A program that runs; killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The real program, under the first of its names; without it there is nothing to test, which only counts as a failure
/// where everything has to be there.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let files = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    let found = { files }.find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no {names:?} on the PATH, scripts/tools.sh fetches it");
        eprintln!("no {names:?} on the PATH: nothing was tested");
    }
    found
}

/// Alertmanager, as upstream and as Debian call it.
pub(crate) const ALERTMANAGER: &[&str] = &["alertmanager", "prometheus-alertmanager"];

/// So long the second of a cluster waits for the first to tell people and to say so.
pub(crate) const PEER_TIMEOUT: Duration = Duration::from_secs(6);

impl Program {
    /// An Alertmanager, with the address of another of its cluster.
    pub(crate) fn alertmanager(
        program: &Path,
        folder: &Path,
        config: &str,
        cluster: u16,
        peer: Option<u16>,
    ) -> Self {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("alertmanager.yml"), config).unwrap();
        let port = free_port();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", folder.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--cluster.listen-address=127.0.0.1:{cluster}"))
            .arg(format!("--cluster.advertise-address=127.0.0.1:{cluster}"))
            .arg(format!("--cluster.peer-timeout={}s", PEER_TIMEOUT.as_secs()))
            .args(["--cluster.settle-timeout=60s", "--cluster.pushpull-interval=2s"])
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(peer) = peer {
            command.arg(format!("--cluster.peer=127.0.0.1:{peer}"));
        }
        Self { child: command.spawn().unwrap(), port }
    }

    /// A Prometheus in `folder`, which holds its `prometheus.yml`.
    pub(crate) fn prometheus(program: &Path, folder: &Path, port: u16) -> Self {
        let log = fs::File::create(folder.join("prometheus.log")).unwrap();
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log);
        Self { child: command.spawn().unwrap(), port }
    }

    /// The alerts that it has, each with its labels.
    pub(crate) fn alerts(&self, path: &str) -> Vec<Value> {
        let answer = get(self.port, path).and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let alerts =
            answer.map(|answer| if answer.is_array() { answer } else { answer["data"]["alerts"].clone() });
        alerts.and_then(|alerts| alerts.as_array().cloned()).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until it takes alerts and sees so many members.
    pub(crate) fn wait(&self, members: usize) {
        eventually("a cluster", || {
            let status = get(self.port, "/api/v2/status")?;
            let status: Value = serde_json::from_str(&status).ok()?;
            let cluster = &status["cluster"];
            (cluster["status"] == "ready" && cluster["peers"].as_array()?.len() == members).then_some(())
        });
    }
}

/// In the process of the service: a halt that lasts until the test writes `calm` in its folder.
pub(crate) fn halted() {
    let telemetry = trading_telemetry::init_telemetry().unwrap();
    telemetry.audit().kill_switch_on("VIX > 35", [("vix", 38.5.into())]);
    while !Path::new("calm").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    telemetry.audit().kill_switch_off("calm again");
    until_told();
    telemetry.shutdown().unwrap();
}

pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_owned())
}
