#!/usr/bin/env bash
# Plays the commands of the documentation with the real `ros2` against the node, over one middleware
# or both, and writes what was said to docs/ros2-transcripts.md.
#
#   source <a ROS 2 installation>/setup.bash    # and a workspace with hymt_ros, built for both
#   tests/ros/transcripts.sh
#
# HYMT_NODE=PATH         the node (default: the installed one)
# HYMT_MIDDLEWARES="r2r dds"
# HYMT_REQUIRE_ROS=1     without `ros2`, fail instead of skipping
#
# A command that ends with another status than 0, or whose answer lacks what is expected of it, makes
# the script end with 1. tests/docs_commands.rs holds the documentation against the page.
set -u
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-86} ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
# shellcheck source=tests/ros/common.sh
source "$(dirname "$0")/common.sh"
need_ros
NODE=${HYMT_NODE:-$(ros2 pkg prefix hymt_ros 2>/dev/null)/lib/hymt_ros/hymt_node}
need_node
PAGE="$WORK/page.md"

# What a command says, without what differs from run to run or comes from peers.
tidy() {
    grep -v -e 'All log files' -e 'Failed to parse type hash' -e '^ *at /' -e 'USER_DATA' |
        sed -e 's/\x1b\[[0-9;]*m//g' -e "s#$WORK#/tmp#g" -e "s#$HOME#~#g" -e '/^$/d' | head -n "${LINES_MAX:-40}"
}

# play WANTED COMMAND...: runs a command, writes it and its answer to the page, looks for WANTED.
play() {
    local wanted=$1 said status
    shift
    timeout 60 bash -c "$*" >"$WORK/said" 2>&1
    status=$?
    said=$(tidy <"$WORK/said")
    printf '```console\n$ %s\n%s\n```\n\n' "$*" "$said" >>"$PAGE"
    if [ "$status" != 0 ] || ! grep -qF -- "$wanted" "$WORK/said"; then
        FAILED=$((FAILED + 1))
        echo "FAIL ($status) $*: expected [$wanted]; seen:"
        sed 's/^/    /' "$WORK/said" | tail -20
    else
        echo "PASS $*"
    fi
}

# hear WANTED "ECHO COMMAND" "SAY COMMAND": one terminal listens while another speaks.
hear() {
    local wanted=$1 echo_command=$2 say_command=$3 said
    timeout 60 bash -c "$echo_command" >"$WORK/heard" 2>&1 &
    local pid=$!
    # On a busy machine the listener is not there at once; who speaks into the void speaks again.
    for _ in 1 2 3 4; do
        sleep 4
        kill -0 "$pid" 2>/dev/null || break
        timeout 60 bash -c "$say_command" >"$WORK/said" 2>&1
    done
    wait "$pid"
    local status=$?
    said=$(tidy <"$WORK/said")
    printf '```console\n$ %s &\n$ %s\n%s\n%s\n```\n\n' "$echo_command" "$say_command" "$said" \
        "$(tidy <"$WORK/heard")" >>"$PAGE"
    if [ "$status" != 0 ] || ! grep -qF -- "$wanted" "$WORK/heard"; then
        FAILED=$((FAILED + 1))
        echo "FAIL ($status) $echo_command: expected [$wanted]; seen:"
        sed 's/^/    /' "$WORK/heard" | tail -20
    else
        echo "PASS $echo_command"
    fi
}

part() { printf '### %s\n\n' "$1" >>"$PAGE"; }

commands() {
    part "The graph"
    play /translator ros2 node list
    LINES_MAX=80 play /translator/translate_text ros2 node info /translator
    play '/translator/translation [hymt_ros/msg/Translation]' "ros2 topic list -t"
    part "Topics"
    hear 'Wo ist die Ladestation?' \
        "ros2 topic echo --once /translator/de/text std_msgs/msg/String" \
        "ros2 topic pub -1 /text std_msgs/msg/String \"{data: 'Where is the charging station?'}\""
    hear 'target_locale: de' \
        "ros2 topic echo --once /translator/translation --filter \"m.target_locale == 'de'\"" \
        "ros2 topic pub -1 /text std_msgs/msg/String \"{data: 'Where is the charging station?'}\""
    play 'state_label: active' ros2 topic echo --once --qos-durability transient_local /translator/status
    LINES_MAX=60 play 'translator: Latency' ros2 topic echo --once /diagnostics
    part "Services"
    play 'Wo ist die Ladestation?' "ros2 service call /translator/translate hymt_ros/srv/Translate \"{texts: ['Where is the charging station?'], target_locales: ['de'], priority: 128}\""
    play "did you mean 'de'" "ros2 service call /translator/translate hymt_ros/srv/Translate \"{texts: ['hello'], target_locales: ['germn']}\""
    play "German" ros2 service call /translator/list_languages hymt_ros/srv/ListLanguages
    play "success=True" "ros2 service call /translator/set_glossary hymt_ros/srv/SetGlossary \"{name: hotel, target_locale: de, format: csv, content: 'charging station,Stromtankstelle'}\""
    play "hotel" ros2 service call /translator/list_glossaries hymt_ros/srv/ListGlossaries
    play "1 glossaries with 1 entries" ros2 service call /translator/reload_glossaries std_srvs/srv/Trigger
    part "The action"
    play 'Goal finished with status: SUCCEEDED' "ros2 action send_goal --feedback /translator/translate_text hymt_ros/action/TranslateText \"{text: 'Where is the charging station?', target_locales: ['de']}\""
    play 'translate_text' ros2 action list -t
    part "Parameters"
    LINES_MAX=60 play target_locales ros2 param list /translator
    play 'Languages to translate into' ros2 param describe /translator target_locales
    play "['de', 'zh']" ros2 param get /translator target_locales
    play 'Set parameter successful' "ros2 param set /translator glossary.terms \"['[de] charging station=Stromtankstelle']\""
    play "did you mean 'fr'" "ros2 param set /translator target_locales \"['frr']\""
    LINES_MAX=20 play 'ros__parameters' "ros2 param dump /translator > /tmp/translator-dump.yaml; head -20 /tmp/translator-dump.yaml"
    play 'target_locales successful' ros2 param load /translator /tmp/translator-dump.yaml
    rm -f /tmp/translator-dump.yaml
    part "The life cycle"
    play 'active [3]' ros2 lifecycle get /translator
    play 'Transitioning successful' ros2 lifecycle set /translator deactivate
    play 'the node is inactive' "ros2 service call /translator/translate hymt_ros/srv/Translate \"{texts: ['hello'], target_locales: ['de']}\""
    play 'Transitioning successful' ros2 lifecycle set /translator cleanup
    play 'configure' ros2 lifecycle list /translator
    play 'Transitioning successful' ros2 lifecycle set /translator configure
    play 'Transitioning successful' ros2 lifecycle set /translator activate
}

{
    echo "# What the real \`ros2\` says"
    echo
    echo "Written by \`tests/ros/transcripts.sh\` on $(date +%Y-%m-%d): ROS 2 ${ROS_DISTRO:-of unknown name},"
    echo "\`${RMW_IMPLEMENTATION:-the default rmw}\` on the side of the command line, the embedded demo model, one machine."
    echo "Long answers are cut; warnings about type hashes, which a \`dds\` node cannot send, are left out."
    echo
} >"$PAGE"

for middleware in ${HYMT_MIDDLEWARES:-r2r dds}; do
    printf '## The node over `%s`\n\n' "$middleware" >>"$PAGE"
    HYMT_MIDDLEWARE=$middleware start "$WORK/log" ready
    grep -q "on $middleware" "$WORK/log" || { echo "FAIL: not over $middleware"; cat "$WORK/log"; exit 1; }
    printf '```console\n$ HYMT_MIDDLEWARE=%s ros2 run hymt_ros hymt_node\n%s\n```\n\n' "$middleware" \
        "$(sed -e 's/^[0-9TZ:.-]* *//' "$WORK/log" | tidy)" >>"$PAGE"
    commands
    stop
    # Its memory in the graph of the daemon must not answer for the next one.
    timeout -k 5 20 ros2 daemon stop >/dev/null 2>&1
done

if [ -f "$(ros2 pkg prefix --share hymt_ros 2>/dev/null)/launch/translator.launch.py" ]; then
    printf '## Launch\n\n' >>"$PAGE"
    launch="ros2 launch hymt_ros translator.launch.py target_locales:=zh,de namespace:=/robot1"
    setsid bash -c "$launch" >"$WORK/launch" 2>&1 &
    launched=$!
    PIDS+=("-$launched")
    wait_for "$WORK/launch" ready
    printf '```console\n$ %s\n%s\n```\n\n' "$launch" \
        "$(sed -e 's/ [0-9TZ:.-]*Z / /' "$WORK/launch" | tidy)" >>"$PAGE"
    play /robot1/translator ros2 node list
    play "['zh', 'de']" ros2 param get /robot1/translator target_locales
    hear '充电站在哪里' \
        "ros2 topic echo --once /robot1/translator/zh/text std_msgs/msg/String" \
        "ros2 topic pub -1 /robot1/text std_msgs/msg/String \"{data: 'Where is the charging station?'}\""
else
    echo "SKIPPED: hymt_ros is not installed as a package here, so nothing was launched"
fi

[ "$FAILED" = 0 ] || { echo "$FAILED commands failed; the page is left as it was"; exit 1; }
cp "$PAGE" docs/ros2-transcripts.md
echo "all commands passed; wrote docs/ros2-transcripts.md"
