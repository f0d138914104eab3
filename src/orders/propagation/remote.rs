//! What another process sent.

use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, ContextGuard};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::orders::Identity;

/// The trace and the order of another process, to be continued here.
#[derive(Clone, Debug, Default)]
pub struct Remote(Context);

impl Remote {
    pub(super) fn new(context: Context) -> Self {
        Self(context)
    }

    /// The order that the other process works on.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.get::<Identity>()
    }

    /// The span of the other process, if it sent one.
    pub fn span_context(&self) -> Option<SpanContext> {
        self.0.has_active_span().then(|| self.0.span().span_context().clone())
    }

    /// A new span, child of the other process' span, that carries the order: enter it, or instrument a future with it.
    /// With nothing to continue it begins a trace of its own.
    pub fn span(&self, name: &str) -> Span {
        self.child(name, None, None, None)
    }

    /// Makes `span` a child of the other process' span; it and all inside it carry the order. Has no effect on a span
    /// that was already entered.
    pub fn continue_on(&self, span: &Span) {
        // It fails where there is no trace to be part of, and there nothing is lost.
        _ = span.set_parent(self.0.clone());
    }

    /// Links `span` to the other process' span: for work that has several causes, such as a batch of orders.
    pub fn link_to(&self, span: &Span) {
        span.add_link(self.0.span().span_context().clone());
    }

    /// Makes trace and order current on this thread until the guard is dropped: log lines carry them, and spans made
    /// there continue them. In a future, use [`span`](Self::span).
    pub fn attach(&self) -> ContextGuard {
        self.0.clone().attach()
    }

    /// The OpenTelemetry context that holds it all.
    pub fn context(&self) -> &Context {
        &self.0
    }

    pub(super) fn child(
        &self,
        name: &str,
        kind: Option<&str>,
        method: Option<&str>,
        path: Option<&str>,
    ) -> Span {
        let order = self.identity();
        let span = tracing::info_span!(
            target: "trading_telemetry::order",
            parent: None,
            "remote",
            otel.name = name,
            otel.kind = kind,
            http.request.method = method,
            url.path = path,
            order_id = order.map(Identity::order_id),
            symbol = order.and_then(Identity::symbol),
            strategy = order.and_then(Identity::strategy),
        );
        self.continue_on(&span);
        span
    }
}
