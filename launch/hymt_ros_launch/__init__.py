"""What the launch files of hymt_ros share."""
