//! OTLP/HTTP's client.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::error::OTelSdkError;
use prost::Message;

use super::transport::Failure;
use crate::lock::lock;
use crate::retry_after::retry_after;

/// Largest answer that is read; a collector's has a few hundred bytes.
const MAX_ANSWER: usize = 64 << 10;
/// Longest pause that a collector may ask for.
const MAX_PAUSE: Duration = Duration::from_mins(5);
/// Longest reason that is told.
const MAX_REASON: usize = 300;

/// What the last answer was about. OpenTelemetry's exporter tells less than the client knows.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    reason: Option<String>,
    retry_after: Option<Duration>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        lock(&self.0)
    }

    /// What to tell of a failed export.
    pub(super) fn failure(&self, error: &OTelSdkError) -> Failure {
        let noted = std::mem::take(&mut *self.lock());
        let mut reason = noted.reason.unwrap_or_else(|| error.to_string());
        reason.retain(|character| !character.is_control());
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
            reason.truncate(end);
        }
        Failure { reason, retry_after: noted.retry_after.map(|pause| pause.min(MAX_PAUSE)) }
    }
}

/// An HTTP client that adds the headers, bounds the answer, and keeps URL and headers out of its errors.
#[derive(Clone)]
pub(super) struct Client {
    inner: reqwest::Client,
    headers: HeaderMap,
    notes: Arc<Notes>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(inner: reqwest::Client, headers: HeaderMap, notes: Arc<Notes>) -> Self {
        Self { inner, headers, notes }
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        *self.notes.lock() = Noted::default();
        let answer = self.exchange(request).await;
        self.note(&answer);
        answer.map_err(Into::into)
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let request = reqwest::Request::try_from(request).map_err(told)?;
        let mut answer = self.inner.execute(request).await.map_err(told)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err("the answer is too large for a collector's".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answer.status();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        // A web page with status 200 is no sign that anything was taken. A 500 is not tried again.
        if response.status().is_success() && !is_collectors(&response) {
            self.notes.lock().reason =
                Some("answered, but not as a collector does; check the endpoint".to_owned());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        Ok(response)
    }

    fn note(&self, answer: &Result<Response<Bytes>, String>) {
        let mut notes = self.notes.lock();
        match answer {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => {
                notes.reason.get_or_insert_with(|| format!("status {}", response.status()));
                notes.retry_after = retry_after(response.headers());
            }
            Err(reason) => notes.reason = Some(reason.clone()),
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'sending>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sending>>
    where
        'client: 'sending,
        Self: 'sending,
    {
        Box::pin(self.send(request))
    }
}

/// The answers to all signals have the same fields, so one of them stands for all.
fn is_collectors(response: &Response<Bytes>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let body = response.body();
    body.is_empty()
        || kind.starts_with("application/json")
        || kind.starts_with("application/x-protobuf")
            && ExportTraceServiceResponse::decode(body.clone()).is_ok()
}

/// An error and its causes, without the URL: it may hold a key.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
