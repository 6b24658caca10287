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

# colcon build and test, and the ros2 command line; needs a sourced ROS 2 installation.
ros:
    tests/ros/run.sh

# Peers that come, go and die at 50 Hz, for seven minutes; needs Cyclone DDS for Python.
soak:
    HYMT_SOAK_MESSAGES=20000 cargo test --release --test soak -- --nocapture

# What needs an NVIDIA GPU and NVRTC. Inputs are new each time; HYMT_SEED repeats those of a failure.
gpu:
    HYMT_REQUIRE_CUDA=1 cargo test --release -p hymt_cuda -- --nocapture

# The kernels under compute-sanitizer (CUDA toolkit), on few tokens: memcheck, racecheck, synccheck,
# initcheck.
# A cubin that lacks a kernel of some name says so to the driver: no error.
gpu-sanitize tool="memcheck":
    HYMT_REQUIRE_CUDA=1 HYMT_TOKENS=1,8 cargo \
        --config 'target."cfg(all())".runner = "compute-sanitizer --tool {{tool}} --report-api-errors no --error-exitcode 9"' \
        test --release -p hymt_cuda --test kernels --test decode -- --test-threads 1

# Refresh what is generated from the parameter table.
update:
    HYMT_UPDATE=1 cargo test --release --test parameters
