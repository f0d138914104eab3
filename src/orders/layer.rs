//! The `tracing` layer of spans: OpenTelemetry's, between two small ones that carry an order's identity.
//!
//! The identity has to be in the context that a span is made in: its children inherit it from there, and nothing in
//! tracing-opentelemetry hands a span's fields down. The layer before it attaches the identity that a new span declares,
//! the layer behind it takes it off again.

use std::cell::RefCell;
use std::sync::Arc;

use opentelemetry::Context as OtelContext;
use opentelemetry::ContextGuard;
use opentelemetry::trace::{Status, TraceContextExt, Tracer, TracerProvider};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Identity;
use super::context::{is_there, with_context};
use super::identity::{ORDER_ID, STRATEGY, SYMBOL};
use super::tracer::OrderTracerProvider;

/// The layer that makes OpenTelemetry spans of `tracing` spans and carries orders' identities.
pub(crate) fn layer<S>(provider: &OrderTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    layer_of(provider.tracer("trading_telemetry"), || true)
}

/// [`layer`] of a tracer that may not be there yet: until it is `ready`, it is given no span.
pub(crate) fn layer_of<S, T>(tracer: T, ready: fn() -> bool) -> impl Layer<S> + Send + Sync + use<S, T>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    T: Tracer<Span: Send + Sync> + Send + Sync + 'static,
{
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Events are log lines; as span events as well they would cost half a microsecond each.
        .with_filter(filter_fn(move |metadata| {
            metadata.is_span() && is_traced(metadata) && ready() && is_there()
        }));
    Before.and_then(spans).and_then(After)
}

/// Whether a span is part of the trace: an order's always, whatever the log filter says, others from INFO up.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.level() <= &Level::INFO || is_order(metadata)
}

fn is_order(metadata: &Metadata<'_>) -> bool {
    metadata.fields().field(ORDER_ID).is_some()
}

thread_local! {
    /// The identity of the span that is being made on this thread.
    static MAKING: RefCell<Option<ContextGuard>> = const { RefCell::new(None) };
    /// The identities of entered spans whose own context does not hold them.
    static ENTERED: RefCell<Vec<(Id, ContextGuard)>> = const { RefCell::new(Vec::new()) };
}

/// The identity that a span declares by its fields.
#[derive(Clone, Debug)]
struct Declared(Identity);

/// What a span declares before its order's id is known.
#[derive(Debug)]
struct Incomplete(Fields);

struct Before;

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Before {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !is_order(attributes.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let Some(span) = context.span(id) else { return };
        let identity = match fields.identity() {
            Ok(identity) => identity,
            Err(fields) => return span.extensions_mut().insert(Incomplete(fields)),
        };
        span.extensions_mut().insert(Declared(identity.clone()));
        if !is_there() {
            return;
        }
        let guard = OtelContext::current_with_value(identity).attach();
        MAKING.with(|making| making.borrow_mut().replace(guard));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if !is_order(span.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        values.record(&mut fields);
        let mut extensions = span.extensions_mut();
        let before = match extensions.remove::<Declared>() {
            Some(Declared(identity)) => identity.into(),
            None => extensions.remove().map(|Incomplete(fields)| fields).unwrap_or_default(),
        };
        let identity = match fields.over(before).identity() {
            Ok(identity) => identity,
            Err(fields) => return extensions.insert(Incomplete(fields)),
        };
        extensions.insert(Declared(identity.clone()));
        drop(extensions);
        // `Span::current().record(…)`: what follows inside is the order's as well.
        if context.current_span().id() == Some(id) {
            drop(leave(id));
            attach(id, identity);
        }
    }

    fn on_exit(&self, id: &Id, _context: Context<'_, S>) {
        drop(leave(id));
    }
}

/// Makes the identity current until [`leave`].
fn attach(id: &Id, identity: Identity) {
    if !is_there() {
        return;
    }
    let guard = OtelContext::current_with_value(identity).attach();
    ENTERED.with(|entered| entered.borrow_mut().push((id.clone(), guard)));
}

/// What [`attach`] has attached last for the span; to be dropped by the caller, outside of the borrow.
fn leave(id: &Id) -> Option<ContextGuard> {
    let left = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        let position = entered.iter().rposition(|(inside, _)| inside == id)?;
        Some(entered.remove(position).1)
    });
    left.ok().flatten()
}

struct After;

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for After {
    fn on_new_span(&self, attributes: &Attributes<'_>, _id: &Id, _context: Context<'_, S>) {
        if is_order(attributes.metadata()) {
            drop(MAKING.try_with(|making| making.borrow_mut().take()));
        }
    }

    /// Attaches an identity that the span's context lacks: declared after the span was made, or beside an explicit
    /// parent.
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if !is_order(span.metadata()) {
            return;
        }
        let extensions = span.extensions();
        let Some(Declared(identity)) = extensions.get::<Declared>() else { return };
        if with_context(|current| current.get::<Identity>() == Some(identity)) {
            return;
        }
        let identity = identity.clone();
        drop(extensions);
        attach(id, identity);
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().level() == &Level::ERROR {
            with_context(|current| {
                if current.has_active_span() {
                    current.span().set_status(Status::error(event.metadata().name()));
                }
            });
        }
    }
}

/// Reads an identity from a span's fields.
#[derive(Debug, Default)]
struct Fields {
    order_id: Option<Arc<str>>,
    symbol: Option<Arc<str>>,
    strategy: Option<Arc<str>>,
}

impl From<Identity> for Fields {
    fn from(identity: Identity) -> Self {
        let Identity { order_id, symbol, strategy } = identity;
        Self { order_id: Some(order_id), symbol, strategy }
    }
}

impl Fields {
    /// What these say, over what was known before.
    fn over(self, before: Self) -> Self {
        Self {
            order_id: self.order_id.or(before.order_id),
            symbol: self.symbol.or(before.symbol),
            strategy: self.strategy.or(before.strategy),
        }
    }

    /// There is no identity without an order id.
    fn identity(self) -> Result<Identity, Self> {
        match self.order_id {
            Some(order_id) => Ok(Identity { order_id, symbol: self.symbol, strategy: self.strategy }),
            None => Err(self),
        }
    }

    fn room(&mut self, field: &Field) -> Option<&mut Option<Arc<str>>> {
        match field.name() {
            ORDER_ID => Some(&mut self.order_id),
            SYMBOL => Some(&mut self.symbol),
            STRATEGY => Some(&mut self.strategy),
            _ => None,
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(room) = self.room(field) {
            *room = Some(value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if let Some(room) = self.room(field) {
            *room = Some(format!("{value:?}").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Tracer;
    use opentelemetry_sdk::trace::SpanData;

    use super::*;
    use crate::orders::Order;
    use crate::orders::exported::spans_of;

    fn attribute<'a>(spans: &'a [SpanData], name: &str, key: &str) -> Vec<&'a str> {
        let span = spans.iter().find(|span| span.name == name).expect("the span was exported");
        span.attributes
            .iter()
            .filter(|attribute| attribute.key.as_str() == key)
            .map(|attribute| match &attribute.value {
                opentelemetry::Value::String(value) => value.as_str(),
                other => panic!("{key} is {other:?}"),
            })
            .collect()
    }

    fn current() -> Option<(String, bool)> {
        Identity::with_current(|order, span| {
            Some((
                order?.order_id().to_owned(),
                span.is_some_and(|span| span.is_valid() && span.is_sampled()),
            ))
        })
    }

    #[test]
    fn everything_inside_an_order_span_carries_it_once() {
        let spans = spans_of(|provider| {
            let order = Order::new("abc123").symbol("AAPL").strategy("Swing").span("submit_order").entered();
            assert_eq!(current(), Some(("abc123".into(), true)));
            tracing::info_span!("risk_check").in_scope(|| {
                assert_eq!(current(), Some(("abc123".into(), true)));
                let span = provider.tracer("library").start("by_the_api");
                drop(span);
            });
            drop(order);
            assert_eq!(current(), None);
            tracing::info_span!("afterwards").in_scope(|| assert_eq!(current(), None));
        });
        for name in ["submit_order", "risk_check", "by_the_api"] {
            assert_eq!(attribute(&spans, name, "order_id"), ["abc123"], "{name}");
            assert_eq!(attribute(&spans, name, "symbol"), ["AAPL"], "{name}");
            assert_eq!(attribute(&spans, name, "strategy"), ["Swing"], "{name}");
        }
        assert!(attribute(&spans, "afterwards", "order_id").is_empty());
        let find = |name| spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(find("risk_check").parent_span_id, find("submit_order").span_context.span_id());
        assert_eq!(find("by_the_api").parent_span_id, find("risk_check").span_context.span_id());
    }

    #[test]
    fn any_span_with_an_order_id_is_an_order_span() {
        let spans = spans_of(|_| {
            let id = 17;
            let outer = tracing::trace_span!("mine", order_id = %id).entered();
            assert_eq!(current(), Some(("17".into(), true)));
            tracing::debug_span!("dropped").in_scope(|| assert_eq!(current(), Some(("17".into(), true))));
            drop(outer);
        });
        assert_eq!(attribute(&spans, "mine", "order_id"), ["17"]);
        assert_eq!(spans.len(), 1);
    }

    #[test]
    fn an_id_that_becomes_known_later_is_carried_from_then_on() {
        let spans = spans_of(|_| {
            let span = tracing::info_span!("late", order_id = tracing::field::Empty);
            span.in_scope(|| assert_eq!(current(), None));
            span.record("order_id", "abc");
            span.in_scope(|| {
                assert_eq!(current(), Some(("abc".into(), true)));
                tracing::info_span!("child").in_scope(|| {});
            });
            assert_eq!(current(), None);
        });
        assert_eq!(attribute(&spans, "late", "order_id"), ["abc"]);
        assert_eq!(attribute(&spans, "child", "order_id"), ["abc"]);
    }

    #[test]
    fn an_id_that_becomes_known_inside_its_span_is_carried_at_once() {
        use tracing::field::Empty;
        let spans = spans_of(|_| {
            let outer = tracing::info_span!("outer", order_id = "parent").entered();
            let span =
                tracing::info_span!("late", order_id = Empty, symbol = "AAPL", strategy = Empty).entered();
            tracing::Span::current().record("order_id", "abc");
            tracing::Span::current().record("strategy", "Swing");
            assert_eq!(current(), Some(("abc".into(), true)));
            tracing::info_span!("child").in_scope(|| assert_eq!(current(), Some(("abc".into(), true))));
            drop(span);
            assert_eq!(current(), Some(("parent".into(), true)));
            drop(outer);
            assert_eq!(current(), None);
        });
        assert_eq!(attribute(&spans, "child", "order_id"), ["abc"]);
        assert_eq!(attribute(&spans, "child", "symbol"), ["AAPL"]);
        assert_eq!(attribute(&spans, "child", "strategy"), ["Swing"]);
    }

    #[test]
    fn an_explicit_parent_hands_its_order_down() {
        let spans = spans_of(|_| {
            let order = Order::new("abc").span("parent");
            let child = tracing::info_span!(parent: &order, "child");
            let nested = tracing::info_span!(parent: &order, "nested", order_id = "leg-2");
            nested.in_scope(|| assert_eq!(current(), Some(("leg-2".into(), true))));
            child.in_scope(|| assert_eq!(current(), Some(("abc".into(), true))));
        });
        assert_eq!(attribute(&spans, "child", "order_id"), ["abc"]);
        assert_eq!(attribute(&spans, "nested", "order_id"), ["leg-2"]);
    }

    #[test]
    fn another_thread_carries_the_order_with_the_span() {
        let spans = spans_of(|_| {
            let order = Order::new("abc").span("spawned");
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            std::thread::spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || {
                    order.in_scope(|| assert_eq!(current(), Some(("abc".into(), true))));
                });
            })
            .join()
            .unwrap();
        });
        assert_eq!(attribute(&spans, "spawned", "order_id"), ["abc"]);
    }

    #[test]
    fn an_error_inside_a_span_is_the_spans_error() {
        let spans = spans_of(|_| {
            tracing::info_span!("failing").in_scope(|| tracing::error!("broker_gone"));
            tracing::info_span!("fine").in_scope(|| tracing::warn!("slow"));
        });
        let status = |name: &str| spans.iter().find(|span| span.name == name).unwrap().status.clone();
        assert!(matches!(status("failing"), Status::Error { .. }));
        assert_eq!(status("fine"), Status::Unset);
    }
}
