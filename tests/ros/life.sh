#!/usr/bin/env bash
# The real `ros2` command line against the node's life cycle, action, status and glossaries.
#
#   source <a ROS 2 installation>/setup.bash    # and an overlay with the interfaces of hymt_ros
#   cargo build --release
#   tests/ros/life.sh
#
# Prints PASS or FAIL with what was seen for each check; exits 1 after a FAIL. Runs in its own
# domain (ROS_DOMAIN_ID, default 89).
set -u
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-89}
# shellcheck source=tests/ros/common.sh
source "$(dirname "$0")/common.sh"
ros2 interface show hymt_ros/action/TranslateText >/dev/null 2>&1 ||
    skip "no 'ros2' with the interfaces of hymt_ros here; source both to run these checks"
need_node
ME=/translator ACTION=/translator/translate_text

start "$WORK/node.log" 'waiting for a lifecycle manager' --ros-args -p autostart:=false \
    -p engine:=scripted -p scripted.step_ms:=50 -p "target_locales:=['de']" -p source_locale:=en

# Unconfigured: everything is there and says what is missing.
check 'lifecycle nodes' "$(ask lifecycle nodes)" $ME
check 'lifecycle get' "$(ask lifecycle get $ME)" 'unconfigured [1]'
check 'lifecycle list' "$(ask lifecycle list $ME)" 'configure [1]' 'shutdown [5]'
check 'service while unconfigured' \
    "$(ask service call $ME/translate hymt_ros/srv/Translate '{texts: [hello]}')" \
    'code=5' 'the node is unconfigured'
check 'activate is not available' "$(ask lifecycle set $ME activate)" 'Unknown transition'

# A configure that fails goes back, with the reason; parameters are free until the next one.
check 'param set while unconfigured' "$(ask param set $ME model.path /nonexistent)" successful
check 'param set engine' "$(ask param set $ME engine cpu)" successful
check 'configure fails' "$(ask lifecycle set $ME configure)" 'Transitioning failed'
check 'still unconfigured' "$(ask lifecycle get $ME)" 'unconfigured [1]'
sleep 1.2
check 'diagnostics have the reason' "$(ask topic echo --once --full-length /diagnostics)" \
    "model folder '/nonexistent' not found" 'translator: Engine' 'translator: Latency' \
    'translator: Input' 'translator: Glossary'
check 'param set back' "$(ask param set $ME engine scripted)" successful

check 'configure' "$(ask lifecycle set $ME configure)" 'Transitioning successful'
check 'fixed while configured' "$(ask param set $ME scripted.step_ms 1)" 'lifecycle set'
check 'lifecycle list, inactive' "$(ask lifecycle list $ME)" 'cleanup [2]' 'activate [3]'
check 'activate' "$(ask lifecycle set $ME activate)" 'Transitioning successful'

# The action.
TYPE=hymt_ros/action/TranslateText
check 'action list' "$(ask action list -t)" "$ACTION [$TYPE]"
check 'action info' "$(ask action info $ACTION)" 'Action servers: 1' $ME
check 'send_goal --feedback' "$(ask action send_goal --feedback $ACTION $TYPE '{text: hello robot}')" \
    'Goal accepted' 'Feedback:' 'text: hello ro' 'text: hello robot' 'is_final: true' \
    'Goal finished with status: SUCCEEDED'
check 'send_goal, wrong language' \
    "$(ask action send_goal $ACTION $TYPE '{text: hello, target_locales: [germn]}')" \
    "germn" 'did you mean' 'code: 2' 'Goal finished with status: ABORTED'

# Ctrl-C cancels: the goal ends as cancelled long before its text would have. With job control the
# command gets the signal that a background process of a script ignores.
: >"$WORK/goal"
set -m
timeout --foreground 40 ros2 action send_goal --feedback $ACTION $TYPE \
    "{text: $(printf 'x%.0s' $(seq 1200))}" >"$WORK/goal" 2>&1 &
set +m
for _ in $(seq 100); do
    grep -q 'Feedback:' "$WORK/goal" && break
    sleep 0.1
done
sleep 1
pkill -INT -P $! 2>/dev/null
wait $!
check 'Ctrl-C' "$(cat "$WORK/goal")" 'Canceling goal...'
sleep 1
timeout -k 5 5 ros2 topic echo --qos-durability transient_local --qos-reliability reliable \
    --flow-style $ACTION/_action/status action_msgs/msg/GoalStatusArray >"$WORK/status" 2>/dev/null
# Goals stand in the order of their identifiers, so the cancelled one may be any of the three.
check 'the goal is cancelled' "$(grep -v '^---' "$WORK/status" | tail -1)" 'status: 5'

# Glossaries.
SET=hymt_ros/srv/SetGlossary
check 'set_glossary' "$(ask service call $ME/set_glossary $SET \
    '{name: hotel, target_locale: de, format: tsv, content: "lift\tAufzug\n"}')" \
    'success=True' 'entries=1'
check 'set_glossary refused' "$(ask service call $ME/set_glossary $SET \
    '{name: hotel, format: tsv, content: "lift\n"}')" 'success=False' 'line 1: 1 columns'
check 'list_glossaries' \
    "$(ask service call $ME/list_glossaries hymt_ros/srv/ListGlossaries)" "names=['hotel']" \
    'entries=[1]'
check 'list_languages' "$(ask service call $ME/list_languages hymt_ros/srv/ListLanguages)" \
    "'zh'" "'German'"

check 'deactivate' "$(ask lifecycle set $ME deactivate)" 'Transitioning successful'
check 'cleanup' "$(ask lifecycle set $ME cleanup)" 'Transitioning successful'
check 'shutdown' "$(ask lifecycle set $ME shutdown)" 'Transitioning successful'
check 'finalized' "$(ask lifecycle get $ME)" 'finalized [4]'
stop
check 'SIGINT' "exit code $?" 'exit code 0'

# Started by itself, what is wrong ends it with a reason.
check 'autostart fails' \
    "$(timeout 10 "$NODE" --ros-args -p model.path:=/nonexistent 2>&1; echo "exit code $?")" \
    "model folder '/nonexistent' not found" 'exit code 1'

finish
