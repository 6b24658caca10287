#!/usr/bin/env bash
# The real `ros2` command line against the translator node.
#
#   source <a ROS 2 installation>/setup.bash    # and an overlay with the interfaces of hymt_ros
#   cargo build --release
#   tests/ros/cli.sh
#
# Prints PASS or FAIL with what was seen for each check; exits 1 after a FAIL. Without the built
# interfaces of hymt_ros the typed checks say SKIPPED. Runs in its own domain (ROS_DOMAIN_ID,
# default 87) so that nodes nearby do not disturb it.
set -u
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-87}
# shellcheck source=tests/ros/common.sh
source "$(dirname "$0")/common.sh"
need_ros
need_node
NEW=(--no-daemon --spin-time 2)
ME=/robot/interpreter

PARAMS=()
[ -f config/translator.yaml ] && PARAMS=(--params-file config/translator.yaml)
start "$WORK/node.log" ready --ros-args -r __ns:=/robot -r __node:=interpreter -r text:=/whisper/text \
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
    timeout -k 5 30 ros2 topic echo --once --no-daemon "$1" "$2" >"$WORK/heard" 2>/dev/null &
    local listener=$!
    sleep 3
    timeout -k 5 20 ros2 topic pub --once -w 1 /whisper/text std_msgs/msg/String \
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

timeout -k 5 20 ros2 topic echo --once --no-daemon /rosout rcl_interfaces/msg/Log \
    >"$WORK/rosout" 2>/dev/null &
LISTENER=$!
sleep 3
ask param set $ME limits.deadline_ms 5000 "${NEW[@]}" >/dev/null
wait "$LISTENER"
check 'rosout' "$(cat "$WORK/rosout")" 'name: robot.interpreter' 'level: 20'

stop
check 'SIGINT' "exit code $?" 'exit code 0'
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
start "$WORK/typo.log" ready --ros-args --params-file "$WORK/typo.yaml"
check 'unknown name in YAML' "$(cat "$WORK/typo.log")" "did you mean 'target_locales'?"

FIRST=$NODE_PID
start "$WORK/second.log" ready --ros-args -r __ns:=/second
check 'two namespaces at once' "$(ask node list "${NEW[@]}")" /translator /second/translator
kill -INT "$FIRST" "$NODE_PID"
wait "$FIRST" "$NODE_PID"
export ROS_LOCALHOST_ONLY=1
start "$WORK/local.log" ready --ros-args -r __ns:=/local
check 'ROS_LOCALHOST_ONLY=1' "$(ask param get /local/translator source_locale "${NEW[@]}")" \
    'String value is: auto' 'status 0'

finish
