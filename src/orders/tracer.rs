//! The tracer that gives each span inside an order the order's attributes, whether `tracing` or OpenTelemetry's own
//! API made it.

use opentelemetry::trace::{SpanBuilder, Tracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue, StringValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use super::Identity;
use super::identity::{ORDER_ID, STRATEGY, SYMBOL};

/// A provider of [`OrderTracer`]s.
#[derive(Clone, Debug)]
pub(crate) struct OrderTracerProvider(pub(crate) SdkTracerProvider);

impl TracerProvider for OrderTracerProvider {
    type Tracer = OrderTracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> OrderTracer {
        OrderTracer(self.0.tracer_with_scope(scope))
    }
}

/// An SDK tracer whose spans carry the identity that it finds in their parent context.
#[derive(Clone, Debug)]
pub(crate) struct OrderTracer(SdkTracer);

impl Tracer for OrderTracer {
    type Span = Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent: &Context) -> Span {
        if let Some(order) = parent.get::<Identity>() {
            let attributes = builder.attributes.get_or_insert_default();
            let values = [
                (ORDER_ID, Some(&order.order_id)),
                (SYMBOL, order.symbol.as_ref()),
                (STRATEGY, order.strategy.as_ref()),
            ];
            for (key, value) in values {
                // A span's own field is the nearer one.
                if let Some(value) = value
                    && !attributes.iter().any(|attribute| attribute.key.as_str() == key)
                {
                    attributes.push(KeyValue::new(key, StringValue::from(value.clone())));
                }
            }
        }
        self.0.build_with_context(builder, parent)
    }
}
