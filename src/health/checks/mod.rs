//! The checks that are ready to use.

mod http;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod tcp;

pub use http::Http;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
#[cfg(feature = "redis")]
pub use redis::Redis;
pub use tcp::Tcp;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::check::{Check, Planned};
use super::failure::{CheckError, Problem};
use super::tls::Trust;
use crate::settings::{CheckSettings, Probe as Target};

/// The check that the settings describe.
pub(super) fn planned(component: &str, settings: &CheckSettings) -> Result<Planned, CheckError> {
    let trust = || Trust::of_file(settings.certificate.as_deref());
    match settings.probe().ok_or(Problem::Incomplete)? {
        Target::Tcp(address) => Ok(Check::configured(component, Tcp::new(address)?, settings).into()),
        Target::Http(url) => {
            let http = Http::new(url.clone())?.trusting(trust()?);
            let http = match settings.status {
                Some(status) => http.expect_status(status)?,
                None => http,
            };
            Ok(Check::configured(component, http, settings).into())
        }
        #[cfg(feature = "postgres")]
        Target::Postgres(url) => {
            let postgres = Postgres::new(url.clone())?.trusting(trust()?);
            Ok(Check::configured(component, postgres, settings).into())
        }
        #[cfg(feature = "redis")]
        Target::Redis(url) => {
            let redis = Redis::new(url.clone())?.trusting(trust()?);
            Ok(Check::configured(component, redis, settings).into())
        }
        #[cfg(not(feature = "postgres"))]
        Target::Postgres(_) => Err(Problem::Feature("postgres").into()),
        #[cfg(not(feature = "redis"))]
        Target::Redis(_) => Err(Problem::Feature("redis").into()),
        // The health's own: it hands out the handle that beats.
        Target::Heartbeat(_) => Err(Problem::Incomplete.into()),
    }
}

/// The addresses of a name, looked up on the check's own thread. Tokio would take one of those that all checks share, for
/// as long as a name server is silent, and another for the next check.
fn look_up(target: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    target.to_socket_addrs().map(Iterator::collect)
}
