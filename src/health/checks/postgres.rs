//! Postgres answers a query.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::look_up;
use crate::health::check::Probe;
use crate::health::failure::{CheckError, CheckFailure, Problem};
use crate::health::redact::Secrets;
use crate::health::tls::Trust;

const EXAMPLE: &str = "postgres://user:password@127.0.0.1:5432/trading";

/// Logs in over a connection of its own and runs `SELECT 1`: so a wrong password, a missing database and a server with no
/// connection left are seen too.
///
/// `sslmode` in the URL: `disable`; `prefer` (the default) encrypts where the server can and its certificate is trusted;
/// `require`, `verify-ca` and `verify-full` all insist on TLS with a trusted certificate for this host.
#[derive(Clone, Debug)]
pub struct Postgres {
    config: Config,
    trust: Trust,
    secrets: Arc<Secrets>,
}

impl Postgres {
    /// Logs in with a URL such as `postgres://user:password@127.0.0.1:5432/trading`.
    ///
    /// # Errors
    ///
    /// When the URL is not understood.
    pub fn new(url: impl Into<SecretString>) -> Result<Self, CheckError> {
        let url = url.into();
        let unreadable = || Problem::Url { why: "", example: EXAMPLE };
        // The driver knows `require` alone, and with rustls that verifies all that the two others ask for.
        let text = ["verify-full", "verify-ca"].iter().fold(url.expose_secret().to_owned(), |text, mode| {
            text.replace(&format!("sslmode={mode}"), "sslmode=require")
        });
        let mut config: Config = text.parse().map_err(|_| unreadable())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(unreadable().into());
        }
        if config.get_application_name().is_none() {
            config.application_name("trading-telemetry");
        }
        // What the driver took for the password, which an unescaped character in it may have hidden from us.
        let password = config.get_password().map(String::from_utf8_lossy);
        let secrets = Arc::new(Secrets::of_url(url.expose_secret()).with(password.as_deref()));
        Ok(Self { config, trust: Trust::System, secrets })
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

    fn failure(&self, error: &Error) -> CheckFailure {
        match error.as_db_error() {
            // Without the detail: it may quote what was sent.
            Some(error) => CheckFailure::without(
                &self.secrets,
                format_args!("{} {}: {}", error.severity(), error.code().code(), error.message()),
            ),
            None => CheckFailure::caused_by(&self.secrets, error),
        }
    }
}

impl Probe for Postgres {
    async fn probe(&self) -> Result<(), CheckFailure> {
        let mode = self.config.get_ssl_mode();
        if mode == SslMode::Disable {
            return query(&self.config, NoTls).await.map_err(|error| self.failure(&error));
        }
        let tls = MakeRustlsConnect::new((*self.trust.config()?).clone());
        match query(&self.config, tls).await {
            Ok(()) => Ok(()),
            // As libpq does with `prefer`.
            Err(error) if mode == SslMode::Prefer && is_tls(&error) => {
                query(self.config.clone().ssl_mode(SslMode::Disable), NoTls).await.map_err(|second| {
                    let (first, second) = (self.failure(&error), self.failure(&second));
                    CheckFailure::without(&self.secrets, format_args!("{second} (with TLS: {first})"))
                })
            }
            Err(error) => Err(self.failure(&error)),
        }
    }
}

/// The driver keeps the kind of its errors to itself.
fn is_tls(error: &Error) -> bool {
    error.to_string() == "error performing TLS handshake"
}

async fn query<T: MakeTlsConnect<Socket>>(config: &Config, tls: T) -> Result<(), Error> {
    if config.get_hostaddrs().is_empty() {
        for host in config.get_hosts() {
            if let Host::Tcp(name) = host {
                // The driver asks again and tells what is wrong, but on a thread of all: a silence has to be met here.
                let _ = look_up((name.as_str(), 0));
            }
        }
    }
    let (client, connection) = config.connect(tls).await?;
    let question = async {
        let answer = client.simple_query("SELECT 1").await;
        drop(client); // the connection then takes leave of the server
        answer
    };
    // Together in one future, so that a timeout ends both.
    let (answer, _) = tokio::join!(question, connection);
    answer.map(drop)
}
