//! Composition root: configuration to engine to inference thread to translator.
