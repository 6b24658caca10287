//! Tools for tests: scripted engine, tiny models, conformance suite.

pub mod conformance;
