//! What tests above this crate share with `hymt selftest`: it needs no dependency of its own.

pub mod agreement;
pub mod conformance;
