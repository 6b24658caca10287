//! The node executable, as `ros2 run hymt_ros hymt_node` starts it: `hymt node` under a name of
//! its own.

fn main() -> std::process::ExitCode {
    hymt_ros::cli::node::main()
}
