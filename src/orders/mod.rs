//! Orders: the identity that everything about an order carries, within a process and across processes.

mod context;
#[cfg(test)]
mod exported;
mod identity;
mod layer;
mod propagation;
mod span;
mod tracer;

pub(crate) use context::with_context;
pub use identity::Identity;
pub(crate) use identity::{ORDER_ID, STRATEGY, SYMBOL};
pub(crate) use layer::{layer, layer_of};
pub use propagation::{Continued, Inbound, Outbound, Propagation, PropagationLayer, Remote};
pub use span::Order;
pub(crate) use tracer::{OrderTracer, OrderTracerProvider};
