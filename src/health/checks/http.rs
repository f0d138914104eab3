//! A GET is answered with the right status.

use std::sync::{Arc, OnceLock};

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};

use super::look_up;
use crate::health::check::Probe;
use crate::health::failure::{CheckError, CheckFailure, Problem};
use crate::health::redact::Secrets;
use crate::health::tls::Trust;

const EXAMPLE: &str = "https://127.0.0.1:5000/v1/health";
const AGENT: &str = concat!("trading-telemetry/", env!("CARGO_PKG_VERSION"));

/// GETs a URL over a connection of its own, through no proxy, and looks at the status alone. Redirects are not followed:
/// expect the 302 where it is right.
#[derive(Clone, Debug)]
pub struct Http {
    url: SecretString,
    status: Option<u16>,
    trust: Trust,
    secrets: Arc<Secrets>,
    client: OnceLock<Client>,
}

impl Http {
    /// GETs this URL and expects any of 200 to 299. User and password in it are sent as basic authentication.
    ///
    /// # Errors
    ///
    /// When it is no http or https URL.
    pub fn new(url: impl Into<SecretString>) -> Result<Self, CheckError> {
        let url = url.into();
        let parsed = Url::parse(url.expose_secret());
        if !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Problem::Url { why: "", example: EXAMPLE }.into());
        }
        let secrets = Arc::new(Secrets::of_url(url.expose_secret()));
        Ok(Self { url, status: None, trust: Trust::System, secrets, client: OnceLock::new() })
    }

    /// Expects this status.
    ///
    /// # Errors
    ///
    /// When there is no such status.
    pub fn expect_status(self, status: u16) -> Result<Self, CheckError> {
        if (100..600).contains(&status) {
            Ok(Self { status: Some(status), ..self })
        } else {
            Err(Problem::Status(status).into())
        }
    }

    /// Trusts these certificates (PEM) in place of the system's.
    ///
    /// # Errors
    ///
    /// When there is none among them, or one cannot be read.
    pub fn trust(self, pem: &[u8]) -> Result<Self, CheckError> {
        Ok(self.trusting(Trust::of_pem(pem)?))
    }

    pub(super) fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    fn client(&self) -> Result<Client, CheckFailure> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let config = self.trust.config()?;
        let client = Client::builder()
            .tls_backend_preconfigured((*config).clone())
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(InPlace)
            // A connection kept from last time says nothing about a new one.
            .pool_max_idle_per_host(0)
            .user_agent(AGENT)
            .build()
            .map_err(|error| CheckFailure::caused_by(&self.secrets, &error.without_url()))?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

/// Looks names up where the check runs.
struct InPlace;

impl Resolve for InPlace {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = look_up((name.as_str(), 0))?;
            Ok(Box::new(found.into_iter()) as _)
        })
    }
}

impl Probe for Http {
    async fn probe(&self) -> Result<(), CheckFailure> {
        let answer = self.client()?.get(self.url.expose_secret()).send().await;
        let answer = answer.map_err(|error| CheckFailure::caused_by(&self.secrets, &error.without_url()))?;
        let status = answer.status();
        let right = self.status.map_or_else(|| status.is_success(), |expected| status.as_u16() == expected);
        if right {
            return Ok(());
        }
        let expected = self.status.map_or_else(|| "2xx".to_owned(), |status| status.to_string());
        Err(CheckFailure::new(format_args!("answered {} where {expected} is expected", status.as_u16())))
    }
}
