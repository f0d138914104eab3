//! Orders: the identity that everything about an order carries, within a process and across processes.

mod identity;

pub use identity::Identity;
