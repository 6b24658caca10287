//! Memory-mapped model weights.
