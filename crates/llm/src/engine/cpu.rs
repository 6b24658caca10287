//! The CPU engine: reference and fallback.
