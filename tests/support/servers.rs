//! Real Postgres and Redis, each in a folder of its own on a free port of loopback. Where a program is absent the test says
//! so and passes; with `CI=true` it fails.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const NOBODY: u32 = 65_534;

/// The paths of programs on the `PATH` or among those that the test script fetched; `None`, said in a line, where one is
/// missing.
pub(crate) fn programs<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain([target.join("tools/bin")]).collect();
    let found = names.map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()));
    if let Some(missing) = names.iter().zip(&found).find_map(|(name, found)| found.is_none().then_some(name))
    {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing} is missing");
        eprintln!("skipped: no {missing} (scripts/tools.sh {missing} fetches it)");
        return None;
    }
    Some(found.map(Option::unwrap))
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A certificate for 127.0.0.1 and its key, both in PEM.
pub(crate) fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// An address that drops packets without a word, as a firewall does: nobody accepts there, and the backlog is full. It
/// lasts as long as what is returned with it.
pub(crate) fn swallower() -> (std::net::SocketAddr, impl Sized) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guard = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap().into_std().unwrap();
    drop(guard);
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 64, "the backlog does not fill");
    }
    (address, (listener, waiting))
}

/// A server process; killed when dropped.
pub(crate) struct Server {
    command: Box<dyn Fn() -> Command>,
    process: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Server {
    fn start(folder: TempDir, port: u16, command: impl Fn() -> Command + 'static) -> Self {
        let process = spawn(&command, &folder, port);
        Self { command: Box::new(command), process, folder, port }
    }

    /// Stops it as an operator would.
    pub(crate) fn stop(&mut self) {
        // SIGINT is Postgres' fast shutdown; Redis knows it too.
        self.signal("INT");
        self.process.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.command, &self.folder, self.port);
    }

    /// Accepts connections still, since the system does, and answers none.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.thaw_if_there();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Postgres' children end when their parent can tell them.
    fn thaw_if_there(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.thaw();
            self.signal("INT");
            let start = Instant::now();
            while matches!(self.process.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn spawn(command: &dyn Fn() -> Command, folder: &TempDir, port: u16) -> Child {
    let log = folder.path().join("log");
    let output = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
    let mut process = command()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || fs::read_to_string(&log).unwrap_or_default();
        assert!(process.try_wait().unwrap().is_none(), "it ended: {}", log());
        assert!(start.elapsed() < Duration::from_mins(1), "it does not listen: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// Redis with a password; with TLS where a certificate and its key are given.
pub(crate) fn redis(password: &str, tls: Option<&(String, String)>) -> Option<Server> {
    let [program] = programs(["redis-server"])?;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut arguments: Vec<String> = format!(
        "--bind 127.0.0.1 --save  --appendonly no --dir {} --requirepass {password}",
        folder.path().display()
    )
    .split(' ')
    .map(str::to_owned)
    .collect();
    match tls {
        None => arguments.extend(["--port".to_owned(), port.to_string()]),
        Some((certificate, key)) => {
            let [certificate, key] = [("cert.pem", certificate), ("key.pem", key)].map(|(name, pem)| {
                fs::write(folder.path().join(name), pem).unwrap();
                folder.path().join(name).display().to_string()
            });
            let options = format!(
                "--port 0 --tls-port {port} --tls-auth-clients no --tls-cert-file {certificate} --tls-key-file {key}"
            );
            arguments.extend(options.split(' ').map(str::to_owned));
        }
    }
    Some(Server::start(folder, port, move || {
        let mut command = Command::new(&program);
        command.args(&arguments);
        command
    }))
}

/// Prometheus, which scrapes these jobs once a second.
pub(crate) fn prometheus(jobs: &[(&str, std::net::SocketAddr)]) -> Option<Server> {
    let [program] = programs(["prometheus"])?;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let jobs: Vec<String> = jobs
        .iter()
        .map(|(job, address)| format!("{{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}"))
        .collect();
    let config = folder.path().join("prometheus.yml");
    let jobs = jobs.join(", ");
    fs::write(&config, format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{jobs}]\n")).unwrap();
    let data = folder.path().join("data");
    Some(Server::start(folder, port, move || {
        let mut command = Command::new(&program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command
    }))
}

/// Postgres with the user `trader`, this password and the database `postgres`; with TLS where a certificate and its key are
/// given. It refuses to run as root and then runs as nobody.
pub(crate) fn postgres(password: &str, connections: usize, tls: Option<&(String, String)>) -> Option<Server> {
    let [initdb, postgres] = programs(["initdb", "postgres"])?;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let as_nobody = move |program: &Path| {
        let mut command = Command::new(program);
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    let own = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        if root {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    };
    own(folder.path(), 0o700);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        own(&path, 0o600);
        path
    };
    let data = folder.path().join("data");
    let made = as_nobody(&initdb)
        .args(["--username=trader", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--no-locale"])
        .arg(format!("--pwfile={}", file("password", password).display()))
        .arg("-D")
        .arg(&data)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut options = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", folder.path().display()),
        "fsync=off".to_owned(),
        "superuser_reserved_connections=0".to_owned(),
        "max_wal_senders=0".to_owned(),
        format!("max_connections={connections}"),
    ];
    if let Some((certificate, key)) = tls {
        options.push("ssl=on".to_owned());
        options.push(format!("ssl_cert_file={}", file("cert.pem", certificate).display()));
        options.push(format!("ssl_key_file={}", file("key.pem", key).display()));
    }
    Some(Server::start(folder, port, move || {
        let mut command = as_nobody(&postgres);
        command.arg("-D").arg(&data);
        for option in &options {
            command.arg("-c").arg(option);
        }
        command
    }))
}
