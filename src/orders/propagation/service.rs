//! The server's side: a service that works in its caller's trace and order.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::instrument::{Instrument, Instrumented};

use super::Propagation;

/// Longest path that a span shows; the rest of it is the caller's to make up.
const MAX_PATH: usize = 256;

/// Wraps a service in [`Continued`], for `tower`, axum and tonic.
#[derive(Clone, Copy, Debug)]
pub struct PropagationLayer(Propagation);

impl PropagationLayer {
    pub(super) const fn new(propagation: Propagation) -> Self {
        Self(propagation)
    }

    /// Wraps a service, hyper's or tower's.
    pub fn wrap<S>(&self, inner: S) -> Continued<S> {
        Continued { inner, propagation: self.0 }
    }
}

impl<S> Layer<S> for PropagationLayer {
    type Service = Continued<S>;

    fn layer(&self, inner: S) -> Continued<S> {
        self.wrap(inner)
    }
}

/// A service whose every request is answered inside a server span that continues the caller's trace and order.
#[derive(Clone, Debug)]
pub struct Continued<S> {
    inner: S,
    propagation: Propagation,
}

impl<S> Continued<S> {
    fn span<B>(&self, request: &Request<B>) -> Span {
        let method = request.method().as_str();
        let path = request.uri().path();
        let end = (0..=MAX_PATH.min(path.len())).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
        let remote = self.propagation.extract(request.headers());
        remote.child(method, Some("server"), Some(method), path.get(..end))
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Continued<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let span = self.span(&request);
        span.in_scope(|| self.inner.call(request)).instrument(span)
    }
}

impl<S: hyper::service::Service<Request<B>>, B> hyper::service::Service<Request<B>> for Continued<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let span = self.span(&request);
        span.in_scope(|| self.inner.call(request)).instrument(span)
    }
}
