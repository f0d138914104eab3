//! The global provider: a service's own instruments and those of its libraries.

/// x
#[derive(Debug)]
pub(crate) struct ForeignProvider;
