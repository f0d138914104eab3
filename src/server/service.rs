//! The same routes inside another server.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::{Request, Response};

use super::routes::Routes;

/// `/metrics`, `/health` and `/ready` as a [`tower_service::Service`], for a hyper, axum or tower server that the service
/// has anyway.
///
/// Its `/metrics` shows the families that it was made with, by default those of [`Families::default`]: with the
/// library's own port scraped too, nothing is counted twice. It is cheap to clone, needs no runtime of its own, and
/// collects on a thread where it may block; a timeout for its answers is the other server's affair.
///
/// [`Families::default`]: crate::Families
#[derive(Clone, Debug)]
pub struct TelemetryService {
    routes: Arc<Routes>,
}

impl TelemetryService {
    pub(crate) const fn new(routes: Arc<Routes>) -> Self {
        Self { routes }
    }
}

impl<B> tower_service::Service<Request<B>> for TelemetryService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let routes = Arc::clone(&self.routes);
        Box::pin(async move { Ok(routes.handle(request).await) })
    }
}
