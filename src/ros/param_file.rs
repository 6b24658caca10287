//! ROS 2 parameter YAML files.
