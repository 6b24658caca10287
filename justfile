# What a developer runs. CI runs `.ci/run`, which calls the same commands.

# Format, lints, documentation.
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# Everything that needs neither a GPU nor ROS 2.
test:
    cargo test --release --workspace

# Benchmarks (criterion); figures are only comparable within one run.
bench:
    cargo bench --workspace

# The ros2 command line against the node; needs a sourced ROS 2 installation.
ros:
    tests/ros/cli.sh

# Refresh what is generated from the parameter table.
update:
    HYMT_UPDATE=1 cargo test --release --test parameters
