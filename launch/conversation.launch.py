"""Two people, two languages: a translator for each of them.

Person A is heard on /a/text and read by B on /a/translator/<language of B>/text; and the other way
round. Each translator loads the model, so the memory is needed twice.
"""

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration


def generate_launch_description():
    """Return the arguments and two translators."""
    share = get_package_share_directory('hymt_ros')
    arguments = [
        ('language_a', 'en', 'What person A speaks and reads.'),
        ('language_b', 'de', 'What person B speaks and reads.'),
        ('namespace_a', '/a', 'Namespace of the translator that hears A.'),
        ('namespace_b', '/b', 'Namespace of the translator that hears B.'),
        ('text_a', '', 'Topic with what A says; empty: text in the namespace of A.'),
        ('text_b', '', 'Topic with what B says; empty: text in the namespace of B.'),
        ('params_file', f'{share}/config/conversation.yaml', 'Parameter file (YAML) of both.'),
    ]

    def hears(speaker, reader):
        return IncludeLaunchDescription(
            PythonLaunchDescriptionSource(f'{share}/launch/translator.launch.py'),
            launch_arguments={
                'namespace': LaunchConfiguration(f'namespace_{speaker}'),
                'params_file': LaunchConfiguration('params_file'),
                'source_locale': LaunchConfiguration(f'language_{speaker}'),
                'target_locales': LaunchConfiguration(f'language_{reader}'),
                'text_topic': LaunchConfiguration(f'text_{speaker}'),
            }.items())

    return LaunchDescription(
        [DeclareLaunchArgument(name, default_value=default, description=description)
         for name, default, description in arguments]
        + [hears('a', 'b'), hears('b', 'a')])
