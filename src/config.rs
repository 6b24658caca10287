//! Typed configuration of the application.
