#!/usr/bin/env bash
# Everything that needs a ROS 2 installation: colcon build, colcon test, and the ros2 command line
# against the installed node. With none sourced it says so loudly and ends well.
#
# HYMT_REQUIRE_ROS=1          without ROS, fail instead of skipping
# HYMT_BUILD=r2r|dds|both     which node to build (default: r2r)
# HYMT_COLCON_WS=DIR          workspace to build in (default: target/colcon)
# HYMT_CMAKE_ARGS="-D... -D"  more arguments for CMake
set -euo pipefail
cd "$(dirname "$0")/../.."
source_dir=$PWD

skip() {
    printf '\n!!! SKIPPED: nothing was checked against a real ROS 2: %s\n\n' "$1"
    [ "${HYMT_REQUIRE_ROS:-0}" = 1 ] && exit 1
    exit 0
}
[ -n "${AMENT_PREFIX_PATH:-}" ] ||
    skip "none is sourced (AMENT_PREFIX_PATH is empty); source /opt/ros/<distro>/setup.bash"
command -v ros2 >/dev/null || skip "no 'ros2' command, though AMENT_PREFIX_PATH is set"
command -v colcon >/dev/null || skip "no 'colcon' command; install python3-colcon-common-extensions"

middleware=${HYMT_BUILD:-r2r}
workspace=${HYMT_COLCON_WS:-$source_dir/target/colcon}
mkdir -p "$workspace"
# It lies inside a checkout, which may itself lie in the workspace of somebody else.
touch "$workspace/COLCON_IGNORE"
more_colcon=()
read -r -a more <<<"${HYMT_CMAKE_ARGS:-}"
# Some installations of colcon ask for it, others do not know it.
if [[ $(colcon build --help) == *--allow-overriding* ]]; then
    more_colcon=(--allow-overriding hymt_ros)
fi
step() { printf '\n--- %s\n' "$1"; }

step "colcon build (HYMT_MIDDLEWARE=$middleware)"
cd "$workspace"
colcon build --base-paths "$source_dir" --packages-select hymt_ros \
    --event-handlers console_cohesion+ "${more_colcon[@]}" \
    --cmake-args "-DHYMT_MIDDLEWARE=$middleware" "${more[@]}"

step "colcon test"
colcon test --base-paths "$source_dir" --packages-select hymt_ros \
    --event-handlers console_cohesion+ --return-code-on-test-failure ||
    { colcon test-result --verbose; exit 1; }
colcon test-result

step "the ros2 command line"
set +u
# shellcheck disable=SC1091
source "$workspace/install/local_setup.bash"
set -u
cd "$source_dir"
export HYMT_NODE="$workspace/install/hymt_ros/lib/hymt_ros/hymt_node"
tests/ros/cli.sh
tests/ros/life.sh
