//! Random model folders of a real shape, for benchmarks and tests.
