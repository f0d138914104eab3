//! Requests to a running service.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::output::Failure;
use crate::sources::SourceArgs;

/// Which running service is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct ServiceArgs {
    /// Its address, such as `http://127.0.0.1:8001`; by default that of the settings.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// A running service.
pub(crate) struct Service {
    url: String,
    token: Option<SecretString>,
    runtime: Runtime,
}

/// A runtime for a few requests.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::wrong)
}

impl Service {
    pub(crate) fn new(args: &ServiceArgs, sources: &SourceArgs) -> Result<Self, Failure> {
        let monitoring = sources.load()?.settings.monitoring;
        let url = args.url.clone().unwrap_or_else(|| {
            let host = monitoring.prometheus_host.first().copied();
            let host = match host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) {
                host if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                host => host,
            };
            format!("http://{}", std::net::SocketAddr::new(host, monitoring.prometheus_port))
        });
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, token: monitoring.bearer_token, runtime: runtime()? })
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The JSON at `path`.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let body = self.request(Method::GET, path, None)?;
        serde_json::from_str(&body).map_err(|_| self.is_another(path))
    }

    /// Something answers, and not as our services do.
    pub(crate) fn is_another(&self, path: &str) -> Failure {
        Failure::wrong(format!("{}{path} did not answer as our services do: is it one of them?", self.url))
    }

    /// Sends a request that changes something.
    pub(crate) fn change(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String, Failure> {
        if !self.has_token() {
            return Err(Failure::wrong(
                "a running service is changed with its bearer token alone: set SA_MONITORING__BEARER_TOKEN to that of the service",
            ));
        }
        self.request(method, path, body)
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String, Failure> {
        let url = format!("{}{path}", self.url);
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| Failure::wrong("no HTTP client can be built: check the system's certificates"))?;
        let mut request = client.request(method, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret().trim());
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
        });
        match answer {
            Ok((status, text)) if status.is_success() => Ok(text),
            Ok((status, text)) => Err(Failure::wrong(format!("{url}: {status}: {}", text.trim()))),
            Err(error) if error.is_builder() => {
                Err(Failure::wrong(format!("`{url}` is no URL: write http://127.0.0.1:8001")))
            }
            Err(error) => {
                let why = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
                Err(Failure::unreachable(format!(
                    "{url} {why}: is the service running, and this its address?"
                )))
            }
        }
    }
}
