//! A collector that takes OTLP over gRPC and HTTP on one port, keeps what it got, and misbehaves on demand.

use std::convert::Infallible;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// What the collector does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Take,
    /// Over gRPC: `internal`.
    Fail,
    /// 429 with Retry-After; over gRPC `resource_exhausted` with a retry delay.
    Throttle(u32),
    /// Never answers.
    Hang,
    /// Success with bytes that mean nothing.
    Garbage,
    /// Success with a web page.
    WebPage,
    /// Takes all but so many.
    Reject(i64),
}

#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) gzip: bool,
    pub(crate) payload: Payload,
}

#[derive(Debug)]
struct State {
    behaviour: Mutex<Behaviour>,
    got: Mutex<Vec<Got>>,
    arrived: Condvar,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), behaviour, None)
    }

    /// Where another one was before.
    pub(crate) fn start_at(address: SocketAddr, behaviour: Behaviour) -> Self {
        Self::serve(TcpListener::bind(address).unwrap(), behaviour, None)
    }

    pub(crate) fn start_tls(behaviour: Behaviour, config: ServerConfig) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), behaviour, Some(Arc::new(config)))
    }

    fn serve(listener: TcpListener, behaviour: Behaviour, tls: Option<Arc<ServerConfig>>) -> Self {
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            behaviour: Mutex::new(behaviour),
            got: Mutex::default(),
            arrived: Condvar::new(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let accepting = accept(listener, shared, tls);
                tokio::select! { () = accepting => {}, _ = stopped => {} }
            });
            runtime.shutdown_background();
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// Every request that came, whatever became of it.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.state.got.lock().unwrap().clone()
    }

    /// Waits for `enough` of the requests, for as long as a busy machine may take.
    pub(crate) fn wait(&self, enough: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let got = self.state.got.lock().unwrap();
        let wait = self.state.arrived.wait_timeout_while(got, Duration::from_secs(30), |got| !enough(got));
        let (got, timeout) = wait.unwrap();
        assert!(!timeout.timed_out(), "only {} requests came", got.len());
        got.clone()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        spans(&self.got())
    }

    pub(crate) fn logs(&self) -> Vec<LogRecord> {
        let scopes = |got: &Got| match &got.payload {
            Payload::Logs(request) => request.resource_logs.clone(),
            _ => vec![],
        };
        let got = self.got();
        let scopes = got.iter().flat_map(scopes).flat_map(|resource| resource.scope_logs);
        scopes.flat_map(|scope| scope.log_records).collect()
    }
}

pub(crate) fn spans(got: &[Got]) -> Vec<Span> {
    let scopes = |got: &Got| match &got.payload {
        Payload::Traces(request) => request.resource_spans.clone(),
        _ => vec![],
    };
    let scopes = got.iter().flat_map(scopes).flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, tls: Option<Arc<ServerConfig>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        match tls.clone() {
            None => _ = tokio::spawn(connection(stream, state)),
            Some(config) => {
                tokio::spawn(async move {
                    if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                        connection(stream, state).await;
                    }
                });
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(request, &state).await) }
    });
    _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, state: &State) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return plain(400, "", Bytes::new()) };
    let body = body.to_bytes();
    let grpc = parts
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let (gzip, message) = if grpc {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        assert_eq!(body.len(), 5 + length, "one message in each request");
        (body[0] == 1, body.slice(5..))
    } else {
        (parts.headers.get("content-encoding").is_some_and(|kind| kind == "gzip"), body)
    };
    let message = if gzip { unzip(&message) } else { message };
    let path = parts.uri.path().to_owned();
    let payload = if path.contains("trace") {
        Payload::Traces(ExportTraceServiceRequest::decode(message).unwrap())
    } else if path.contains("logs") {
        Payload::Logs(ExportLogsServiceRequest::decode(message).unwrap())
    } else {
        Payload::Metrics(ExportMetricsServiceRequest::decode(message).unwrap())
    };
    let behaviour = *state.behaviour.lock().unwrap();
    let got = Got { at: Instant::now(), path, headers: parts.headers, gzip, payload };
    state.got.lock().unwrap().push(got);
    state.arrived.notify_all();
    if behaviour == Behaviour::Hang {
        std::future::pending::<()>().await;
    }
    if grpc { over_grpc(behaviour) } else { over_http(behaviour) }
}

fn unzip(message: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    GzDecoder::new(message).read_to_end(&mut plain).unwrap();
    plain.into()
}

/// The answers to all signals are alike on the wire.
fn success(behaviour: Behaviour) -> Bytes {
    let partial_success = match behaviour {
        Behaviour::Reject(rejected_spans) => {
            Some(ExportTracePartialSuccess { rejected_spans, error_message: "too old".to_owned() })
        }
        _ => None,
    };
    ExportTraceServiceResponse { partial_success }.encode_to_vec().into()
}

const PROTOBUF: &str = "application/x-protobuf";

fn over_http(behaviour: Behaviour) -> Answer {
    match behaviour {
        Behaviour::Fail => plain(500, "text/plain", "sorry".into()),
        Behaviour::Throttle(seconds) => {
            let mut answer = plain(429, "text/plain", Bytes::new());
            answer.headers_mut().insert("retry-after", seconds.into());
            answer
        }
        Behaviour::Garbage => plain(200, PROTOBUF, Bytes::from_static(b"\xff\xff\xff\xff")),
        Behaviour::WebPage => plain(200, "text/html", "<h1>It works!</h1>".into()),
        Behaviour::Take | Behaviour::Reject(_) | Behaviour::Hang => plain(200, PROTOBUF, success(behaviour)),
    }
}

fn plain(status: u16, kind: &str, body: Bytes) -> Answer {
    let body = Full::new(body).boxed_unsync();
    Response::builder().status(status).header("content-type", kind).body(body).unwrap()
}

fn over_grpc(behaviour: Behaviour) -> Answer {
    let (message, status) = match behaviour {
        Behaviour::WebPage => return plain(200, "text/html", "<h1>It works!</h1>".into()),
        Behaviour::Fail => (None, "13"),
        Behaviour::Throttle(_) => (None, "8"),
        Behaviour::Garbage => (Some(Bytes::from_static(b"\xff\xff\xff\xff")), "0"),
        Behaviour::Take | Behaviour::Reject(_) | Behaviour::Hang => (Some(success(behaviour)), "0"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    if let Behaviour::Throttle(seconds) = behaviour {
        let details = HeaderValue::try_from(base64(&retry_info(seconds))).unwrap();
        trailers.insert("grpc-status-details-bin", details);
    }
    let mut body = Vec::new();
    if let Some(message) = message {
        body.push(0);
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
    }
    let body = Full::new(Bytes::from(body)).with_trailers(async { Some(Ok(trailers)) }).boxed_unsync();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// The `google.rpc.Status` that a throttling server sends.
fn retry_info(seconds: u32) -> Vec<u8> {
    let info = RetryInfo { retry_delay: Some(Delay { seconds: seconds.into() }) };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    Status { code: 8, details: vec![Any { type_url, value: info.encode_to_vec() }] }.encode_to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let bits =
            chunk.iter().fold(0, |bits: u32, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len())
            .map(|at| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]))
            .collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}
