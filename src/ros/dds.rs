//! ROS 2 on the wire in pure Rust, over DDS.
