"""translator.launch.py: the node comes up under its namespace and arguments take effect."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ament_index_python.packages import get_package_share_directory  # noqa: E402
from hymt_ros.srv import Translate  # noqa: E402
from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import AnyLaunchDescriptionSource  # noqa: E402
import launch_testing.actions  # noqa: E402
import launch_testing.asserts  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from support import Peer  # noqa: E402

SENTENCE = 'Where is the charging station?'
GERMAN = 'Wo ist die Ladestation?'
YAML = """/**:
  ros__parameters:
    target_locales: ['es']
    source_locale: 'en'
    limits.deadline_ms: 1234
"""


def include(file, **arguments):
    share = get_package_share_directory('hymt_ros')
    return IncludeLaunchDescription(
        AnyLaunchDescriptionSource(f'{share}/launch/{file}'),
        launch_arguments=arguments.items())


def generate_test_description():
    file = Path(tempfile.mkdtemp()) / 'mine.yaml'
    file.write_text(YAML, encoding='utf-8')
    every_empty = dict.fromkeys(
        ('use_sim_time', 'autostart', 'model_path', 'source_locale', 'target_locales',
         'input_mode', 'glossary_files', 'engine', 'text_topic'), '')
    return LaunchDescription([
        include('translator.launch.py', namespace='/robot1', target_locales='zh,de',
                source_locale='', text_topic=''),
        include('translator.launch.py', **every_empty | {
            'namespace': '/yaml', 'name': 'interpreter', 'params_file': str(file)}),
        # The name is given since included files share the arguments of those before them.
        include('translator.launch.xml', namespace='/xml', name='translator',
                params_file=str(file)),
        launch_testing.actions.ReadyToTest(),
    ])


class TestTranslator(unittest.TestCase):
    """What an integrator expects of `ros2 launch`."""

    @classmethod
    def setUpClass(cls):
        cls.peer = Peer('launch_test')

    @classmethod
    def tearDownClass(cls):
        cls.peer.close()

    def test_arguments_take_effect(self):
        self.assertEqual(
            self.peer.parameters('/robot1/translator', 'target_locales', 'source_locale'),
            [['zh', 'de'], 'auto'])

    def test_the_service_answers(self):
        response = self.peer.call(
            Translate, '/robot1/translator/translate',
            Translate.Request(texts=[SENTENCE], target_locales=['de']))
        self.assertTrue(response.success, response.message)
        self.assertEqual(response.results[0].text, GERMAN)

    def test_the_topics_are_in_the_namespace(self):
        self.assertEqual(
            self.peer.say_until_heard(
                String, '/robot1/text', SENTENCE, '/robot1/translator/de/text'), GERMAN)

    def test_empty_arguments_do_not_override_the_file(self):
        self.assertEqual(
            self.peer.parameters(
                '/yaml/interpreter', 'target_locales', 'source_locale', 'limits.deadline_ms'),
            [['es'], 'en', 1234])

    def test_the_xml_file_starts_the_same_node(self):
        self.assertEqual(
            self.peer.parameters('/xml/translator', 'target_locales', 'source_locale'),
            [['es'], 'en'])


@launch_testing.post_shutdown_test()
class TestShutdown(unittest.TestCase):
    """What is left when the launch was told to end."""

    def test_every_node_ends_well(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
