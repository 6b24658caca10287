//! Wire structs: plain mirrors of the ROS interface files.
