//! The ROS 2 edge. Nothing outside this module knows a middleware.

pub mod args;
pub mod convert;
#[cfg(feature = "dds")]
pub mod dds;
pub mod names;
pub mod param_file;
pub mod param_store;
pub mod param_value;
pub mod qos;
pub mod wire;
