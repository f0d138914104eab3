//! Orders: the identity that everything about an order carries, within a process and across processes.

mod identity;
mod layer;
mod span;
mod tracer;

pub use identity::Identity;
pub(crate) use layer::layer;
pub use span::Order;
pub(crate) use tracer::OrderTracerProvider;
