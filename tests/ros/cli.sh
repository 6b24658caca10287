#!/usr/bin/env bash
# The real `ros2` command line against the translator node.
#
#   source <a ROS 2 installation>/setup.bash    # and an overlay with the interfaces of hymt_ros
#   cargo build --release
#   tests/ros/cli.sh
#
# HYMT_NODE=PATH       the node (default: target/release/hymt_node)
# HYMT_REQUIRE_ROS=1   without `ros2`, fail instead of skipping
#
# Prints PASS or FAIL with what was seen for each check; exits 1 after a FAIL. Without the built
# interfaces of hymt_ros the typed checks say SKIPPED. Runs in its own domain (ROS_DOMAIN_ID,
# default 87) so that nodes nearby do not disturb it.
set -u

cd "$(dirname "$0")/../.." || exit 1
NODE=${HYMT_NODE:-target/release/hymt_node}
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-87} PYTHONUNBUFFERED=1
NEW=(--no-daemon --spin-time 2)
ME=/robot/interpreter
FAILED=0 PASSED=0 NODE_PID='' WORK=$(mktemp -d)

leave() {
    [ -n "$NODE_PID" ] && kill -INT "$NODE_PID" 2>/dev/null
    command -v ros2 >/dev/null && timeout 20 ros2 daemon stop >/dev/null 2>&1
    rm -rf "$WORK"
}
trap leave EXIT

if ! command -v ros2 >/dev/null; then
    echo "SKIPPED: no 'ros2' command here; source a ROS 2 installation to run these checks"
    [ "${HYMT_REQUIRE_ROS:-0}" = 1 ] && exit 1
    exit 0
fi
if [ ! -x "$NODE" ]; then
    echo "FAIL: no node at $NODE; run 'cargo build --release' or set HYMT_NODE" >&2
    exit 1
fi

# What the ros2 command says, with its status as the last line. The middleware's warnings that a
# peer sends no type hash would hide everything else.
ask() {
    timeout 40 ros2 "$@" >"$WORK/said" 2>&1
    local status=$?
    grep -v 'Failed to parse type hash' "$WORK/said"
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

start() { # LOG ARGUMENTS...: starts a node and waits until it is ready.
    local log=$1
    shift
    "$NODE" "$@" >"$log" 2>&1 &
    NODE_PID=$!
    for _ in $(seq 100); do
        grep -q ready "$log" && return
        sleep 0.1
    done
    echo "FAIL start: the node is not ready after 10 s:"
    cat "$log"
    exit 1
}

PARAMS=()
[ -f config/translator.yaml ] && PARAMS=(--params-file config/translator.yaml)
start "$WORK/node.log" --ros-args -r __ns:=/robot -r __node:=interpreter -r text:=/whisper/text \
    "${PARAMS[@]}" -p "target_locales:=['de', 'fr']"

check 'node list' "$(ask node list "${NEW[@]}")" "$ME"
check 'node info' "$(ask node info $ME "${NEW[@]}")" \
    '/whisper/text: std_msgs/msg/String' "$ME/translation: hymt_ros/msg/Translation" \
    "$ME/de/text: std_msgs/msg/String" "$ME/fr/text: std_msgs/msg/String" \
    '/rosout: rcl_interfaces/msg/Log' '/parameter_events: rcl_interfaces/msg/ParameterEvent' \
    "$ME/translate: hymt_ros/srv/Translate" \
    "$ME/describe_parameters: rcl_interfaces/srv/DescribeParameters" \
    "$ME/get_parameter_types: rcl_interfaces/srv/GetParameterTypes" \
    "$ME/get_parameters: rcl_interfaces/srv/GetParameters" \
    "$ME/list_parameters: rcl_interfaces/srv/ListParameters" \
    "$ME/set_parameters: rcl_interfaces/srv/SetParameters" \
    "$ME/set_parameters_atomically: rcl_interfaces/srv/SetParametersAtomically"
check 'topic list -t' "$(ask topic list -t "${NEW[@]}")" \
    '/whisper/text [std_msgs/msg/String]' "$ME/translation [hymt_ros/msg/Translation]" \
    "$ME/de/text [std_msgs/msg/String]"
check 'service list -t' "$(ask service list -t "${NEW[@]}")" \
    "$ME/translate [hymt_ros/srv/Translate]"

hear() { # TOPIC TYPE: publishes a sentence and says what came out of TOPIC.
    timeout 30 ros2 topic echo --once --no-daemon "$1" "$2" >"$WORK/heard" 2>/dev/null &
    local listener=$!
    sleep 3
    timeout 20 ros2 topic pub --once -w 1 /whisper/text std_msgs/msg/String \
        '{data: "Where is the charging station?"}' >/dev/null 2>&1
    wait "$listener"
    cat "$WORK/heard"
}
check 'topic pub, echo the text' "$(hear $ME/de/text std_msgs/msg/String)" \
    'data: Wo ist die Ladestation?'
if ros2 interface show hymt_ros/srv/Translate >/dev/null 2>&1; then
    check 'topic pub, echo the translation' "$(hear $ME/translation hymt_ros/msg/Translation)" \
        'source_text: Where is the charging station?' 'source_locale: en' 'is_final: true'
    check 'service call' "$(ask service call $ME/translate hymt_ros/srv/Translate \
        '{texts: ["Where is the charging station?"], target_locales: [de]}')" \
        'success=True' "text='Wo ist die Ladestation?'"
    check 'service call refused' "$(ask service call $ME/translate hymt_ros/srv/Translate \
        '{texts: ["Hello"], target_locales: [xx]}')" 'success=False' 'code=2' "'xx'"
else
    echo 'SKIPPED: typed checks; the interfaces of hymt_ros are not built in this environment'
fi

check 'param list' "$(ask param list $ME "${NEW[@]}")" target_locales model.path use_sim_time
check 'param get' "$(ask param get $ME target_locales "${NEW[@]}")" "['de', 'fr']"
check 'param describe' "$(ask param describe $ME target_locales "${NEW[@]}")" \
    'Type: string array' 'Languages to translate into.'
check 'param set refused' "$(ask param set $ME target_locales "['ja', 'xx']" "${NEW[@]}")" \
    "failed: target_locales[1] 'xx' is not supported"
check 'param set fixed' "$(ask param set $ME engine cpu "${NEW[@]}")" 'fixed while the node is configured'
check 'param set' "$(ask param set $ME target_locales "['ja', 'zh']" "${NEW[@]}")" successful
check 'param set changes the topics' "$(ask topic list "${NEW[@]}")" \
    "$ME/ja/text" "$ME/zh/text" "!$ME/de/text"
ask param dump $ME "${NEW[@]}" | grep -v '^status' >"$WORK/dump.yaml"
check 'param dump' "$(cat "$WORK/dump.yaml")" ros__parameters: 'terms: []' '- ja'
check 'param load' "$(ask param load $ME "$WORK/dump.yaml" "${NEW[@]}")" \
    'target_locales successful' 'glossary.terms successful' 'engine successful'

timeout 20 ros2 topic echo --once --no-daemon /rosout rcl_interfaces/msg/Log \
    >"$WORK/rosout" 2>/dev/null &
LISTENER=$!
sleep 3
ask param set $ME limits.deadline_ms 5000 "${NEW[@]}" >/dev/null
wait "$LISTENER"
check 'rosout' "$(cat "$WORK/rosout")" 'name: robot.interpreter' 'level: 20'

kill -INT "$NODE_PID"
wait "$NODE_PID"
check 'SIGINT' "exit code $?" 'exit code 0'
NODE_PID=''
check 'the node vanishes' "$(ask node list "${NEW[@]}")" "!$ME" 'status 0'

# Starts that must fail, or complain.
refused() { # ARGUMENTS...
    timeout 10 "$NODE" "$@" 2>&1
    echo "exit code $?"
}
check 'engine not in this build' "$(refused --ros-args -p engine:=tensorrt)" \
    "'tensorrt' is not part of this build" 'exit code 2'
check 'invalid ROS_DOMAIN_ID' "$(ROS_DOMAIN_ID=abc refused)" ROS_DOMAIN_ID abc 'exit code 2'
printf '/**:\n  ros__parameters:\n    target_locale: [fr]\n' >"$WORK/typo.yaml"
start "$WORK/typo.log" --ros-args --params-file "$WORK/typo.yaml"
check 'unknown name in YAML' "$(cat "$WORK/typo.log")" "did you mean 'target_locales'?"

FIRST=$NODE_PID
start "$WORK/second.log" --ros-args -r __ns:=/second
check 'two namespaces at once' "$(ask node list "${NEW[@]}")" /translator /second/translator
kill -INT "$FIRST" "$NODE_PID"
wait "$FIRST" "$NODE_PID"
export ROS_LOCALHOST_ONLY=1
start "$WORK/local.log" --ros-args -r __ns:=/local
check 'ROS_LOCALHOST_ONLY=1' "$(ask param get /local/translator source_locale "${NEW[@]}")" \
    'String value is: auto' 'status 0'

echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
