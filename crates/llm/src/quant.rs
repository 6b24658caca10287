//! Quantisation.
