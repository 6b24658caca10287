"""The installed launch files through the real `ros2 launch`: arguments, documentation, failures."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(os.environ.get('HYMT_SOURCE_DIR', Path(__file__).parents[2]))
FILES = ('translator.launch.py', 'conversation.launch.py', 'translator.launch.xml')
# What Nav2's launch files have, less composition, and ours: user-facing names, never to be renamed.
TRANSLATOR = {
    'namespace', 'name', 'params_file', 'use_sim_time', 'autostart', 'use_respawn', 'log_level',
    'model_path', 'source_locale', 'target_locales', 'input_mode', 'glossary_files', 'engine',
    'demo', 'text_topic',
}


def launch(*arguments, seconds=60):
    return subprocess.run(
        ['ros2', 'launch', 'hymt_ros', *arguments],
        capture_output=True, text=True, timeout=seconds)


def shown(file):
    """Return name, default and description of the arguments that --show-args lists."""
    result = launch(file, '--show-args')
    assert result.returncode == 0, result.stderr
    found = re.findall(
        r"^    '(\w+)':\n        (.*)\n(?:        \(default: '?(.*?)'?\)\n)?",
        result.stdout + '\n', re.MULTILINE)
    return {name: (description, default) for name, description, default in found}


def documented(heading):
    """Return the names in the table under a heading of docs/ros-package.md."""
    page = (SOURCE / 'docs' / 'ros-package.md').read_text(encoding='utf-8')
    section = page.split(f'### `{heading}`\n', 1)[1].split('\n#', 1)[0]
    return set(re.findall(r'^\| `(\w+)` \|', section, re.MULTILINE))


def test_the_translator_has_every_argument():
    assert set(shown('translator.launch.py')) == TRANSLATOR


@pytest.mark.parametrize('file', FILES)
def test_every_argument_is_described(file):
    for name, (description, _) in shown(file).items():
        assert description.endswith('.') and 'no description' not in description, name


@pytest.mark.parametrize('file', FILES)
def test_the_documentation_lists_every_argument(file):
    names = set(shown(file))
    if file == 'conversation.launch.py':
        # It includes the translator's file, whose other arguments ros2 launch lists too.
        names -= TRANSLATOR - {'params_file'}
    assert documented(file) == names


def test_an_invalid_parameter_ends_the_launch_with_the_reason():
    result = launch('translator.launch.py', 'target_locales:=xx', 'engine:=scripted')
    said = result.stdout + result.stderr
    assert result.returncode != 0, said
    assert "target_locales[0] 'xx' is not supported" in said
    assert "hymt_node 'translator' ended with exit code 2" in said


def test_an_invalid_argument_ends_the_launch_with_the_reason():
    result = launch('translator.launch.py', 'autostart:=maybe')
    assert result.returncode != 0
    assert "launch argument autostart: 'maybe' is neither true nor false" in (
        result.stdout + result.stderr)
