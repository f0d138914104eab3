//! The server on real sockets, with a client that can misbehave.

mod abuse;
mod client;
mod life;
mod routing;
mod scrape;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader as _;

use super::scrape::Source;
use super::{Access, Answer, Limits, MetricsEndpoint, Request, Routes, Scraper, Server};
use crate::exposition::Families;
use crate::metrics::catalog::Instrument;
use crate::metrics::{Collected, NoExemplars};
use client::get;

const JSON: &str = "application/json";
/// For what must happen, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An empty collection: the catalogue's heads and zeros are body enough.
fn nothing() -> Collected {
    Collected {
        catalogue: Arc::default(),
        resource: Resource::builder_empty().build(),
        foreign: None,
        published: Arc::new(|_: &Instrument| true),
        exemplars: Arc::new(NoExemplars),
    }
}

fn quiet() -> Source {
    Arc::new(nothing)
}

fn routes(source: Source) -> Routes {
    guarded(None, Scraper::new(source))
}

fn guarded(token: Option<&str>, scraper: Arc<Scraper>) -> Routes {
    let health = |_: Request| Answer::new(StatusCode::OK, JSON, r#"{"status":"ok"}"#);
    Routes::new(token.map(Into::into))
        .mount(Method::GET, "/metrics", Access::Token, MetricsEndpoint::new(scraper, Families::all()))
        .mount(Method::GET, "/health", Access::Open, health)
        .mount(Method::GET, "/ready", Access::Open, health)
        .mount(Method::POST, "/echo/", Access::Token, |request: Request| {
            let text = format!("{} {:?}", request.rest, request.body);
            Answer::plain(StatusCode::CREATED, text)
        })
        .mount(Method::DELETE, "/echo/", Access::Token, |request: Request| {
            Answer::plain(StatusCode::OK, format!("gone: {}", request.rest))
        })
}

fn start(routes: Routes, limits: Limits) -> (Server, SocketAddr) {
    let server = Server::start(vec![loopback()], Arc::new(routes), limits).unwrap();
    let address = server.addresses()[0];
    (server, address)
}

fn quick(routes: Routes) -> (Server, SocketAddr) {
    start(routes, Limits::default())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}
