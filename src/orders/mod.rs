//! Orders: the identity that everything about an order carries, within a process and across processes.

#[cfg(test)]
mod exported;
mod identity;
mod layer;
mod propagation;
mod span;
mod tracer;

pub use identity::Identity;
pub(crate) use identity::{ORDER_ID, STRATEGY, SYMBOL};
pub(crate) use layer::{layer, layer_of};
pub use propagation::{Continued, Inbound, Outbound, Propagation, PropagationLayer, Remote};
pub use span::Order;
pub(crate) use tracer::{OrderTracer, OrderTracerProvider};
