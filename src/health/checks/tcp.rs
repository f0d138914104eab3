//! Something accepts connections.

use tokio::net::TcpStream;

use super::look_up;
use crate::health::check::Probe;
use crate::health::failure::{CheckError, CheckFailure, Problem};

/// Connects to host and port. Says that something listens, not that it works: the system accepts for a process that
/// hangs until its backlog is full.
#[derive(Clone, Debug)]
pub struct Tcp {
    address: String,
}

impl Tcp {
    /// Connects to `host:port`.
    ///
    /// # Errors
    ///
    /// When the address has no host or no port.
    pub fn new(address: impl Into<String>) -> Result<Self, CheckError> {
        let address = address.into();
        let good = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(['/', '@', ' '])
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if good { Ok(Self { address }) } else { Err(Problem::Address.into()) }
    }
}

impl Probe for Tcp {
    async fn probe(&self) -> Result<(), CheckFailure> {
        TcpStream::connect(&*look_up(&self.address)?).await?;
        Ok(())
    }
}
