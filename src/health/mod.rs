//! Health of what trading depends on: broker, feed, database, Redis, and whatever else a service names.
//!
//! Checks run in the background, on a thread of their own, each under its own timeout; `/metrics`, `/health` and `/ready`
//! show what they found last and never wait for one. Checks of the settings (`health.checks`) start by themselves; code
//! adds its own, and says at once what it knows first:
//!
//! ```
//! # let telemetry = trading_telemetry::testing::TestTelemetry::new();
//! use trading_telemetry::health::{Check, Down, Tcp, Up};
//!
//! let health = telemetry.health();
//! health.add(Check::new("gateway", Tcp::new("127.0.0.1:7497")?).critical(true));
//! health.add(Check::new("session", || async { Ok::<(), std::io::Error>(()) })); // a pool or session of the service's
//!
//! let feed = health.heartbeat("feed");
//! feed.beat(); // on each tick
//!
//! health.report("broker", Down("socket closed")); // the metric changes and the alerts wake, now
//! health.report("broker", Up);
//! assert!(health.component("broker").is_some_and(|broker| broker.is_up()));
//! # Ok::<(), trading_telemetry::health::CheckError>(())
//! ```
//!
//! A component is up while its last check succeeded and it is not reported down. A report of `Down` lasts until one of
//! `Up`, whatever a check finds: a port may still answer for a session that is gone.

mod board;
mod check;
mod checks;
mod component;
mod failure;
mod handle;
mod heartbeat;
mod redact;
mod report;
mod runner;
mod tls;

pub use check::{Check, HealthCheck, Probe};
#[cfg(feature = "postgres")]
pub use checks::Postgres;
#[cfg(feature = "redis")]
pub use checks::Redis;
pub use checks::{Http, Tcp};
pub use component::{ComponentHealth, Status};
pub use failure::{CheckError, CheckFailure};
#[doc(inline)]
pub use handle::Report::{Down, Up};
pub use handle::{Health, Report};
pub use heartbeat::Heartbeat;

pub(crate) use board::HealthConfig;
pub(crate) use handle::HealthSignal;
pub(crate) use report::{alive, ready};
pub(crate) use runner::CHECK_THREAD;

#[cfg(test)]
mod tests;
