# What the scripts of this folder share; to be sourced. It goes to the root of the checkout, makes the
# folder $WORK, and cleans up at the end: every node of $PIDS and the daemon of ros2 end.
#
# HYMT_NODE=PATH       the node (default: target/release/hymt_node)
# HYMT_REQUIRE_ROS=1   without `ros2`, fail instead of skipping
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
NODE=${HYMT_NODE:-target/release/hymt_node}
export PYTHONUNBUFFERED=1
FAILED=0 PASSED=0 NODE_PID='' PIDS=() WORK=$(mktemp -d)

leave() {
    for pid in "${PIDS[@]:-}"; do [ -n "$pid" ] && kill -INT -- "$pid" 2>/dev/null; done
    command -v ros2 >/dev/null && timeout -k 5 20 ros2 daemon stop >/dev/null 2>&1
    rm -rf "$WORK"
}
trap leave EXIT

# Says loudly what is missing, and ends: well, unless ROS is required.
skip() {
    printf '\n*** SKIPPED: %s ***\n\n' "$1"
    [ "${HYMT_REQUIRE_ROS:-0}" = 1 ] && exit 1
    exit 0
}

need_ros() {
    command -v ros2 >/dev/null || skip "no 'ros2' command here; source a ROS 2 installation"
}

need_node() {
    [ -x "$NODE" ] && return
    echo "FAIL: no node at $NODE; run 'cargo build --release' or set HYMT_NODE" >&2
    exit 1
}

# What the ros2 command says, with its status as the last line. The middleware's warnings that a
# peer sends no type hash would hide everything else.
ask() {
    timeout -k 5 40 ros2 "$@" >"$WORK/asked" 2>&1
    local status=$?
    grep -v 'Failed to parse type hash' "$WORK/asked"
    echo "status $status"
}

# check NAME SEEN WANTED...: every WANTED must occur in SEEN; one that starts with ! must not.
check() {
    local name=$1 seen=$2 wanted missing=''
    shift 2
    for wanted in "$@"; do
        if [ "${wanted#!}" != "$wanted" ]; then
            grep -qF -- "${wanted#!}" <<<"$seen" && missing+=" [not: ${wanted#!}]"
        else
            grep -qF -- "$wanted" <<<"$seen" || missing+=" [$wanted]"
        fi
    done
    if [ -z "$missing" ]; then
        PASSED=$((PASSED + 1))
        echo "PASS $name: $*"
    else
        FAILED=$((FAILED + 1))
        echo "FAIL $name: expected$missing; seen:"
        sed 's/^/    /' <<<"$seen"
    fi
}

# wait_for FILE WORD: until a log has a word.
wait_for() {
    for _ in $(seq 150); do
        grep -q -- "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    echo "FAIL: no '$2' after 15 s in:"
    cat "$1"
    exit 1
}

# start LOG WORD ARGUMENTS...: starts a node, $NODE_PID, and waits until it says WORD.
start() {
    local log=$1 word=$2
    shift 2
    "$NODE" "$@" >"$log" 2>&1 &
    NODE_PID=$!
    PIDS+=("$NODE_PID")
    wait_for "$log" "$word"
}

# stop: ends the last node and gives its status.
stop() {
    kill -INT "$NODE_PID"
    wait "$NODE_PID"
}

# finish: tells how many checks passed, and fails if one failed.
finish() {
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ]
}
