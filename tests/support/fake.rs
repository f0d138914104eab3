//! A server that behaves as its script says: like the real service, like a broken one, or like no server at all.
//!
//! It lives on a thread with a runtime of its own, so that a test that pauses time does not stop it.

#![allow(
    clippy::expect_used,
    dead_code,
    unreachable_pub,
    reason = "shared by test binaries, each of which uses its own part"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// What the server does with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// What the real service would do.
    Honest,
    /// The same, but its answer comes after a while.
    Hold(Duration),
    /// This, whatever the request.
    Answer(Reply),
    /// The real service does its work, and its answer is lost.
    AcceptThenReset,
    /// The page of a captive portal.
    Portal,
    /// Bytes that are no HTTP.
    Garbage,
    /// The beginning of an answer.
    CutShort,
    /// An answer that never ends.
    Endless,
    /// A connection reset.
    Reset,
    /// No answer at all.
    Silence,
}

impl Act {
    pub fn status(status: u16, body: &str) -> Self {
        Self::Answer(Reply::new(status, body))
    }

    pub fn redirect(to: &str) -> Self {
        Self::Answer(Reply::new(302, "").with("location", to))
    }

    pub fn slow_down(seconds: u64) -> Self {
        Self::Answer(Reply::new(429, "").with("retry-after", &seconds.to_string()))
    }
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    pub fn new(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub content_type: String,
    pub body: String,
    /// What was answered; 0 where nothing was.
    pub status: u16,
    /// Whether the real service would have shown it to people.
    pub accepted: bool,
}

/// The rules of the real service.
pub trait Service: Send + 'static {
    /// The answer, and whether people see the message.
    fn answer(&mut self, request: &Arrival) -> (Reply, bool);
}

struct State {
    script: VecDeque<Act>,
    otherwise: Act,
    arrivals: Vec<Arrival>,
    service: Box<dyn Service>,
}

pub struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    pub fn start(service: impl Service) -> Self {
        let state = State {
            script: VecDeque::new(),
            otherwise: Act::Honest,
            arrivals: Vec::new(),
            service: Box::new(service),
        };
        let state = Arc::new(Mutex::new(state));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let serve = async {
                    loop {
                        let Ok((stream, _)) = listener.accept().await else { continue };
                        tokio::spawn(serve(stream, Arc::clone(&shared)));
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What to do with the next requests, one each.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.state).script.extend(acts);
    }

    /// What to do once the script is over.
    pub fn always(&self, act: Act) {
        lock(&self.state).otherwise = act;
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.state).arrivals.clone()
    }

    pub fn accepted(&self) -> Vec<Arrival> {
        self.arrivals().into_iter().filter(|arrival| arrival.accepted).collect()
    }

    /// Waits until so many requests have come, or fails.
    pub async fn wait_for(&self, number: usize) -> Vec<Arrival> {
        self.wait_until(number, Self::arrivals).await
    }

    /// Waits until so many messages were accepted, or fails.
    pub async fn wait_for_accepted(&self, number: usize) -> Vec<Arrival> {
        self.wait_until(number, Self::accepted).await
    }

    async fn wait_until(&self, number: usize, seen: impl Fn(&Self) -> Vec<Arrival>) -> Vec<Arrival> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let arrivals = seen(self);
            if arrivals.len() >= number {
                return arrivals;
            }
            assert!(Instant::now() < deadline, "{number} expected, came: {arrivals:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let act = {
        let mut state = lock(&state);
        state.script.pop_front().unwrap_or_else(|| state.otherwise.clone())
    };
    let raw = matches!(
        act,
        Act::AcceptThenReset | Act::Garbage | Act::CutShort | Act::Endless | Act::Reset | Act::Silence
    );
    if raw {
        let Some(arrival) = read_request(&mut stream).await else { return };
        misbehave(stream, act, arrival, &state).await;
        return;
    }
    let answer = service_fn(move |request| respond(request, act.clone(), Arc::clone(&state)));
    // One request per connection, so that the script counts requests.
    let mut http = hyper::server::conn::http1::Builder::new();
    let _ = http.keep_alive(false).serve_connection(TokioIo::new(stream), answer).await;
}

async fn respond(
    request: Request<Incoming>,
    act: Act,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut arrival = Arrival {
        at,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        content_type: head
            .headers
            .get("content-type")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).expect("the body is UTF-8"),
        status: 0,
        accepted: false,
    };
    let delay = if let Act::Hold(time) = act { time } else { Duration::ZERO };
    let reply = match act {
        Act::Answer(reply) => reply,
        Act::Portal => Reply::new(200, "<html><body>Please sign in to the guest network</body></html>")
            .with("content-type", "text/html"),
        _ => honest(&mut arrival, &state),
    };
    arrival.status = reply.status;
    lock(&state).arrivals.push(arrival);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(reply.body))).unwrap())
}

fn honest(arrival: &mut Arrival, state: &Mutex<State>) -> Reply {
    let (reply, accepted) = lock(state).service.answer(arrival);
    arrival.accepted = accepted;
    reply
}

async fn misbehave(mut stream: TcpStream, act: Act, mut arrival: Arrival, state: &Mutex<State>) {
    if matches!(act, Act::AcceptThenReset) {
        honest(&mut arrival, state);
    }
    lock(state).arrivals.push(arrival);
    match act {
        Act::Garbage => drop(stream.write_all(b"\x16\x03\x01 what you asked for\r\n\r\n\0\0").await),
        Act::CutShort => drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\no").await),
        Act::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await;
            while stream.write_all(&[b'o'; 1024]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Act::Reset | Act::AcceptThenReset => drop(stream.set_zero_linger()),
        // Until the client has had enough.
        _ => while matches!(stream.read(&mut [0; 64]).await, Ok(read) if read > 0) {},
    }
}

/// Reads a request by hand, because what follows is no answer of HTTP.
async fn read_request(stream: &mut TcpStream) -> Option<Arrival> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        if body.len() < header("content-length").parse().unwrap_or(0) {
            continue;
        }
        let mut words = head.split(' ');
        return Some(Arrival {
            at: Instant::now(),
            method: words.next().unwrap_or_default().to_owned(),
            path: words.next().unwrap_or_default().to_owned(),
            content_type: header("content-type"),
            body: body.to_owned(),
            status: 0,
            accepted: false,
        });
    }
}

/// A limit of so many messages at once and one more per interval, with a ban that grows for those who do not wait.
pub struct Limiter {
    burst: f64,
    every: Duration,
    tokens: f64,
    counted_at: Instant,
    ban: Duration,
    banned_until: Option<Instant>,
}

impl Limiter {
    pub fn new(burst: u32, every: Duration, ban: Duration) -> Self {
        let burst = f64::from(burst);
        Self { burst, every, tokens: burst, counted_at: Instant::now(), ban, banned_until: None }
    }

    /// The rest of the ban, if there is one.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.banned_until {
            if now < until {
                self.ban *= 2;
                self.banned_until = Some(now + self.ban);
                return Err(self.ban);
            }
            self.banned_until = None;
        }
        let elapsed = now.saturating_duration_since(self.counted_at);
        self.counted_at = now;
        self.tokens = self.burst.min(self.tokens + elapsed.div_duration_f64(self.every));
        if self.tokens < 0.999 {
            self.banned_until = Some(now + self.ban);
            return Err(self.ban);
        }
        self.tokens -= 1.0;
        Ok(())
    }
}
