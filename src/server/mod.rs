//! The server: `/metrics`, `/health`, `/ready`, `/alerts`, on a thread and a runtime of its own, so that neither a busy
//! service nor a hung collection stops it from answering.
//!
//! What it answers is a table of [`Routes`]; the same table serves inside another server as a [`TelemetryService`].

mod connections;
mod listen;
mod routes;
mod scrape;
mod service;
mod stream;

#[cfg(test)]
mod tests;

pub(crate) use listen::{Limits, Server, remedy};
pub(crate) use routes::{Access, Answer, Endpoint, Request, Routes};
pub(crate) use scrape::{MetricsEndpoint, Scraper};
pub use service::TelemetryService;
