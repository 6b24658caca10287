//! Quantisation.

pub mod int8;
