"""conversation.launch.py: what one person says, the other reads in their own language."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ament_index_python.packages import get_package_share_directory  # noqa: E402
from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import AnyLaunchDescriptionSource  # noqa: E402
import launch_testing.actions  # noqa: E402
import launch_testing.asserts  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from support import Peer  # noqa: E402


def generate_test_description():
    share = get_package_share_directory('hymt_ros')
    return LaunchDescription([
        IncludeLaunchDescription(
            AnyLaunchDescriptionSource(f'{share}/launch/conversation.launch.py'),
            launch_arguments={'language_a': 'en', 'language_b': 'de',
                              'text_b': '/microphone/text'}.items()),
        launch_testing.actions.ReadyToTest(),
    ])


class TestConversation(unittest.TestCase):
    """Both directions, and the shared parameter file."""

    @classmethod
    def setUpClass(cls):
        cls.peer = Peer('conversation_test')

    @classmethod
    def tearDownClass(cls):
        cls.peer.close()

    def test_a_is_read_by_b(self):
        self.assertEqual(
            self.peer.say_until_heard(
                String, '/a/text', 'Thank you.', '/a/translator/de/text'), 'Danke.')

    def test_b_is_read_by_a(self):
        self.assertEqual(
            self.peer.say_until_heard(
                String, '/microphone/text', 'Danke.', '/b/translator/en/text'), 'Thank you.')

    def test_the_file_of_conversations_is_used(self):
        for node in ('/a/translator', '/b/translator'):
            self.assertEqual(self.peer.parameters(node, 'limits.deadline_ms'), [8000])


@launch_testing.post_shutdown_test()
class TestShutdown(unittest.TestCase):
    """What is left when the launch was told to end."""

    def test_every_node_ends_well(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
