#!/usr/bin/env bash
# The node over r2r and over dds must look the same to `ros2`: the same topics, services, actions
# and types.
#
#   source <a ROS 2 installation>/setup.bash    # and an overlay with the interfaces of hymt_ros
#   cargo build --release --features r2r        # with both middlewares
#   tests/ros/same_graph.sh
#
set -u
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-88}
# shellcheck source=tests/ros/common.sh
source "$(dirname "$0")/common.sh"
need_ros
need_node

for middleware in dds r2r; do
    HYMT_MIDDLEWARE=$middleware start "$WORK/log" ready --ros-args -r __ns:=/robot1 \
        -p 'target_locales:=[de,zh_Hant]'
    if ! grep -q "on $middleware" "$WORK/log"; then
        echo "FAIL: the node does not run over $middleware (built with both features?):"
        cat "$WORK/log"
        exit 1
    fi
    timeout -k 5 40 ros2 node info --no-daemon --spin-time 3 --include-hidden /robot1/translator \
        2>/dev/null >"$WORK/$middleware"
    stop
done

# Without the compiled interface nobody can hear LiveSpeech over r2r; dds needs none.
if ! ros2 pkg prefix hri_msgs >/dev/null 2>&1; then
    echo "NOTE: hri_msgs is not installed; its topics are left out of the comparison"
    sed -i '/hri_msgs/d' "$WORK/dds" "$WORK/r2r"
fi

lines=$(wc -l <"$WORK/dds")
if [ "$lines" -lt 30 ]; then
    echo "FAIL: ros2 node info saw only $lines lines; is the check blind?"
    cat "$WORK/dds"
    exit 1
fi
if diff "$WORK/dds" "$WORK/r2r"; then
    echo "PASS: $lines lines of ros2 node info are the same over dds and r2r"
else
    echo "FAIL: ros2 node info differs; '<' is dds, '>' is r2r"
    exit 1
fi
