//! What is around the service: Slack, Prometheus, and somebody who looks at its memory and its file descriptors.

use std::convert::Infallible;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::setup::PATIENCE;

/// A Slack that takes every message.
pub(crate) struct Slack {
    url: String,
    messages: Arc<AtomicU64>,
}

impl Slack {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/services/none", listener.local_addr().unwrap());
        let messages = Arc::new(AtomicU64::new(0));
        let taken = Arc::clone(&messages);
        thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((connection, _)) = listener.accept().await {
                    let taken = Arc::clone(&taken);
                    tokio::spawn(async move {
                        let answer = service_fn(|request| take(request, &taken));
                        let connection = TokioIo::new(connection);
                        // A client that goes away is none of our business.
                        _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(connection, answer)
                            .await;
                    });
                }
            });
        });
        Self { url, messages }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }
}

async fn take(request: Request<Incoming>, taken: &AtomicU64) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    taken.fetch_add(1, Relaxed);
    Ok(Response::new(Full::new("ok".into())))
}

/// One scrape, as OpenMetrics.
pub(crate) fn scrape(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(
        connection,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Accept: application/openmetrics-text;version=1.0.0\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("# EOF\n") {
        Ok(answer)
    } else {
        Err(io::Error::other(answer.lines().next().unwrap_or("no answer").to_owned()))
    }
}

/// The service at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) second: u64,
    pub(crate) resident_kb: u64,
    pub(crate) descriptors: usize,
}

/// What was seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) looks: Vec<Look>,
    pub(crate) scrapes: u64,
    pub(crate) failed_scrapes: Vec<String>,
    pub(crate) slowest_scrape: Duration,
}

/// Scrapes each 100 ms, and looks at the process each second.
pub(crate) fn watch(process: u32, address: Option<SocketAddr>, time: Duration) -> Seen {
    let mut seen = Seen::default();
    let start = Instant::now();
    let mut next_look = 1;
    while start.elapsed() < time {
        let tick = Instant::now();
        if let Some(address) = address {
            seen.scrapes += 1;
            if let Err(error) = scrape(address) {
                seen.failed_scrapes.push(error.to_string());
            }
            seen.slowest_scrape = seen.slowest_scrape.max(tick.elapsed());
        }
        let second = start.elapsed().as_secs();
        if second >= next_look {
            seen.looks.push(look(process, second));
            next_look = second + 1;
        }
        thread::sleep(Duration::from_millis(100).saturating_sub(tick.elapsed()));
    }
    seen
}

fn look(process: u32, second: u64) -> Look {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kb = resident.trim().trim_end_matches(" kB").parse().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    Look { second, resident_kb, descriptors }
}
