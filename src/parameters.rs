//! THE table of ROS parameters.
