//! A collector that costs next to nothing, in a process of its own: it takes everything that comes over gRPC and forgets
//! it, or takes it and never answers.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by benches, which fail where they stand")]

use std::convert::Infallible;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;

use crate::side::{Requests, Role, Side};

/// The collector's side in [`crate::side::serve`].
pub(crate) const COLLECTOR: Role = ("collector", serve);

/// A running collector.
pub(crate) struct Collector {
    side: Side,
    url: String,
}

impl Collector {
    /// One that takes everything.
    pub(crate) fn healthy() -> Self {
        Self::start("healthy")
    }

    /// One that never answers.
    pub(crate) fn hung() -> Self {
        Self::start("hung")
    }

    fn start(state: &str) -> Self {
        let mut side = Side::start(COLLECTOR.0, state);
        let url = side.says();
        Self { side, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn serve(requests: &Requests) {
    let hung = requests.given() == "hung";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    requests.say(format_args!("http://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let answer = service_fn(move |request| answer(request, hung));
                    // A client that goes away is none of our business.
                    _ = server.serve_connection(TokioIo::new(connection), answer).await;
                });
            }
        });
    });
    requests.answer(|_, _| std::time::Duration::ZERO);
}

async fn answer(
    request: Request<Incoming>,
    hung: bool,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    if hung {
        std::future::pending::<()>().await;
    }
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    // An empty message: five bytes that say how long it is.
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let body = message.with_trailers(async { Some(Ok(trailers)) }).boxed_unsync();
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}
