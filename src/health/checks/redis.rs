//! Redis answers a PING.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError};
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::look_up;
use crate::health::check::Probe;
use crate::health::failure::{CheckError, CheckFailure, Problem};
use crate::health::redact::Secrets;
use crate::health::tls::Trust;

const EXAMPLE: &str = "redis://:password@127.0.0.1:6379/0, or rediss://… for TLS";

/// Logs in over a connection of its own, selects the database of the URL and sends `PING`.
#[derive(Clone, Debug)]
pub struct Redis {
    info: ConnectionInfo,
    trust: Trust,
    secrets: Arc<Secrets>,
}

impl Redis {
    /// Logs in with a URL such as `redis://user:password@127.0.0.1:6379/0`; `rediss://` is over TLS.
    ///
    /// # Errors
    ///
    /// When the URL is not understood, or asks for TLS without verification.
    pub fn new(url: impl Into<SecretString>) -> Result<Self, CheckError> {
        let url = url.into();
        let unreadable = |why| Problem::Url { why, example: EXAMPLE };
        let info = url.expose_secret().into_connection_info().map_err(|_| unreadable(""))?;
        match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(unreadable(
                    " (#insecure would send the password to anybody; name the certificate)",
                )
                .into());
            }
            ConnectionAddr::Tcp(..) | ConnectionAddr::TcpTls { .. } => {}
            _ => return Err(unreadable(" (only over TCP)").into()),
        }
        let password = info.redis_settings().password();
        let secrets = Arc::new(Secrets::of_url(url.expose_secret()).with(password));
        Ok(Self { info, trust: Trust::System, secrets })
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

    async fn ping(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(), RedisError> {
        // The check has a timeout of its own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let login = MultiplexedConnection::new_with_config(self.info.redis_settings(), stream, config);
        let (mut connection, driver) = login.await?;
        let ping = redis::cmd("PING");
        tokio::select! {
            answer = ping.query_async::<String>(&mut connection) => answer.map(drop),
            () = driver => Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()),
        }
    }
}

impl Probe for Redis {
    async fn probe(&self) -> Result<(), CheckFailure> {
        let result = match self.info.addr() {
            ConnectionAddr::TcpTls { host, port, .. } => {
                let stream = connect(host, *port).await?;
                let name = ServerName::try_from(bare(host).to_owned())?;
                let stream = TlsConnector::from(self.trust.config()?).connect(name, stream).await?;
                self.ping(stream).await
            }
            ConnectionAddr::Tcp(host, port) => self.ping(connect(host, *port).await?).await,
            _ => return Err(CheckFailure::new("only TCP is supported")),
        };
        result.map_err(|error| {
            let failure = CheckFailure::caused_by(&self.secrets, &error);
            // What a full server says before it hangs up is lost to a driver that is still writing.
            if error.is_connection_dropped() {
                let why = "the server hung up, as one does that has reached its maxclients";
                return CheckFailure::new(format_args!("{failure}: {why}"));
            }
            failure
        })
    }
}

async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(&*look_up((bare(host), port))?).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A URL writes an IPv6 address in brackets; resolver and certificate do not.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
