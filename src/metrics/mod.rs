//! The instruments: the catalogue, typed groups and their bound handles, the providers and their readers.

pub mod catalog;
pub mod labels;
