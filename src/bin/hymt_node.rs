//! The node executable, as `ros2 run hymt_ros hymt_node` starts it: `hymt node` under a name of
//! its own.

fn main() -> std::process::ExitCode {
    #[cfg(feature = "dds")]
    return hymt_ros::cli::node::main();
    #[cfg(not(feature = "dds"))]
    {
        hymt_ros::cli::output::note(
            "hymt_node: built without a middleware; build with the feature `dds`",
        );
        std::process::ExitCode::from(2)
    }
}
