//! Requests to a channel's service: limited in time and size, invisible in the user's telemetry, and with a URL that
//! nobody sees.

use std::fmt;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Proxy, RequestBuilder, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::{ChannelError, Failure};
use crate::retry_after::retry_after;

/// How much of an answer is read; what matters stands at its beginning.
const LONGEST_ANSWER: usize = 4096;

/// How a channel talks to its service.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take from beginning to end. Telegram may hold a flooded one for 3 s.
    pub request_timeout: Duration,
    /// The proxy, if any; the environment's proxies are not used.
    pub proxy: Option<SecretString>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            proxy: None,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) status: u16,
    /// `Retry-After` in seconds.
    pub(super) retry_after: Option<Duration>,
    /// The first 4 KiB.
    pub(super) body: Vec<u8>,
}

/// A URL that holds a secret, and the client for it.
pub(crate) struct Endpoint {
    client: Client,
    url: SecretString,
    bearer: Option<SecretString>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint(…)")
    }
}

impl Endpoint {
    /// # Errors
    ///
    /// When `url` is none, is plain http beyond loopback, or no client can be built.
    pub(crate) fn new(
        channel: &str,
        url: SecretString,
        settings: &HttpSettings,
    ) -> Result<Self, ChannelError> {
        Self::build(channel, url, settings, false)
    }

    /// One that may be beyond loopback without encryption: its URL is no secret.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub(super) fn unencrypted_too(
        channel: &str,
        url: SecretString,
        settings: &HttpSettings,
    ) -> Result<Self, ChannelError> {
        Self::build(channel, url, settings, true)
    }

    /// With a token that each request brings.
    pub(super) fn with_bearer(self, bearer: Option<SecretString>) -> Self {
        Self { bearer, ..self }
    }

    fn build(
        channel: &str,
        url: SecretString,
        settings: &HttpSettings,
        unencrypted_too: bool,
    ) -> Result<Self, ChannelError> {
        let refuse = |what| ChannelError::settings(channel, what);
        let parsed =
            Url::parse(url.expose_secret()).map_err(|_| refuse("its URL is not valid, write https://…"))?;
        let mut builder = Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.request_timeout)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_max_idle_per_host(1)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        match parsed.scheme() {
            "https" => {}
            // Without a certificate to trust no store is read: plain http must work where there is none.
            "http" if unencrypted_too || is_loopback(&parsed) => builder = builder.tls_certs_only([]),
            "http" => return Err(refuse("plain http is for loopback alone, write https://…")),
            _ => return Err(refuse("its URL is not one of https")),
        }
        if let Some(proxy) = &settings.proxy {
            let proxy =
                Proxy::all(proxy.expose_secret()).map_err(|_| refuse("the proxy's URL is not valid"))?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|_| {
            refuse("no TLS client can be built, check that the system's root certificates are installed")
        })?;
        Ok(Self { client, url, bearer: None })
    }

    /// Posts `json` and reads the answer.
    ///
    /// # Errors
    ///
    /// When there is no whole answer in time, in words without the URL.
    pub(super) async fn post(&self, json: String) -> Result<Answer, Failure> {
        let mut request =
            self.client.post(self.url.expose_secret()).header(CONTENT_TYPE, "application/json").body(json);
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer.expose_secret().trim());
        }
        self.send(request).await
    }

    /// Gets, and reads the answer.
    ///
    /// # Errors
    ///
    /// As [`Self::post`].
    pub(crate) async fn get(&self) -> Result<Answer, Failure> {
        self.send(self.client.get(self.url.expose_secret())).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        // What is sent about an alert must not become spans, metrics or lines of the service that raised it; and the
        // client's own lines at TRACE could name the URL.
        answer(request)
            .with_context(Context::current().with_telemetry_suppressed())
            .with_subscriber(NoSubscriber::new())
            .await
            .map_err(|error| Failure::transport(&error))
    }
}

async fn answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = Vec::new();
    while body.len() < LONGEST_ANSWER {
        let Some(chunk) = response.chunk().await? else { break };
        body.extend_from_slice(&chunk[..chunk.len().min(LONGEST_ANSWER - body.len())]);
    }
    Ok(Answer { status, retry_after, body })
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}
