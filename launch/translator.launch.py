"""Start the translator node; every argument is shown by `--show-args`.

The names are those of Nav2. An argument that is left empty never overrides the parameter file.
"""

import sys

from ament_index_python.packages import get_package_share_directory
from hymt_ros_launch.arguments import PARAMETER_ARGUMENTS, boolean, exit_reason, overrides
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, RegisterEventHandler)
from launch.event_handlers import OnProcessExit
from launch_ros.actions import Node

EXECUTABLE = 'hymt_node'
RESPAWN_DELAY_S = 2.0


def declarations():
    """Return every launch argument."""
    share = get_package_share_directory('hymt_ros')
    own = [
        ('namespace', '', 'Namespace of the node, for example /robot1.'),
        ('name', 'translator', 'Name of the node.'),
        ('params_file', f'{share}/config/translator.yaml', 'Parameter file (YAML).'),
        ('text_topic', '', 'Topic to hear; empty: text in the namespace.'),
        ('use_respawn', 'false', 'Start the node again when it ends: true or false.'),
        ('log_level', 'info', 'debug, info, warn, error or fatal.'),
        ('demo', 'false', 'Say five sentences to the node and show captions: true or false.'),
    ]
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in own
    ] + [
        DeclareLaunchArgument(
            name, default_value='',
            description=f'{argument.description} Empty: as params_file has it.')
        for name, argument in PARAMETER_ARGUMENTS.items()
    ]


def start(context):
    """Make the node from the arguments as they are at the start."""
    arguments = dict(context.launch_configurations)
    respawn = boolean(arguments['use_respawn'])
    name = arguments['name']
    params_file = arguments['params_file']
    text_topic = arguments['text_topic']
    node = Node(
        package='hymt_ros',
        executable=EXECUTABLE,
        name=name,
        namespace=arguments['namespace'],
        output='screen',
        parameters=([params_file] if params_file else []) + [overrides(arguments)],
        remappings=[('text', text_topic)] if text_topic else [],
        ros_arguments=['--log-level', arguments['log_level']],
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY_S,
    )

    def ended(event, context):
        # An exception, not a Shutdown event: with it `ros2 launch` itself exits with 1.
        if event.returncode != 0 and not respawn and not context.is_shutdown:
            raise RuntimeError(exit_reason(EXECUTABLE, event.returncode, name))

    actions = [
        node,
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended)),
    ]
    if boolean(arguments['demo']):
        actions.append(demo(arguments['namespace'], name, text_topic))
    return actions


def demo(namespace, name, text_topic):
    """Return the process that talks to the node."""
    root = '/' + namespace.strip('/')
    root = '' if root == '/' else root
    topic = text_topic if text_topic.startswith('/') else f"{root}/{text_topic or 'text'}"
    return ExecuteProcess(
        cmd=[sys.executable, '-m', 'hymt_ros_launch.demo',
             '--node', f'{root}/{name}', '--topic', topic],
        name='demo',
        output='screen',
    )


def generate_launch_description():
    """Return the arguments and the node."""
    return LaunchDescription(declarations() + [OpaqueFunction(function=start)])
