//! The inference thread: owns the engine, acts on the scheduler's plans.
