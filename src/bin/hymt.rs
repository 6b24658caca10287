//! The command line; everything is in [`hymt_ros::cli`].

fn main() -> std::process::ExitCode {
    hymt_ros::cli::run()
}
