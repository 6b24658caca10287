"""The logic of the launch arguments, without launching anything."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'launch'))

from hymt_ros_launch.arguments import (  # noqa: E402
    boolean, comma_list, exit_reason, overrides, PARAMETER_ARGUMENTS)


@pytest.mark.parametrize('text, expected', [
    ('zh,de', ['zh', 'de']),
    (' zh , de ', ['zh', 'de']),
    ('zh', ['zh']),
    ('zh,,de,', ['zh', 'de']),
    ('', []),
    (' , ', []),
])
def test_comma_lists(text, expected):
    assert comma_list(text) == expected


def test_booleans():
    assert [boolean(text) for text in ('true', 'True', '1')] == [True] * 3
    assert [boolean(text) for text in ('false', 'False', '0')] == [False] * 3
    with pytest.raises(ValueError, match="'maybe' is neither true nor false"):
        boolean('maybe')


def test_empty_arguments_set_no_parameter():
    assert overrides({}) == {}
    assert overrides({name: '' for name in PARAMETER_ARGUMENTS}) == {}
    assert overrides({name: ' ' for name in PARAMETER_ARGUMENTS}) == {}
    assert overrides({'target_locales': ' , '}) == {}


def test_arguments_become_parameters_of_their_type():
    assert overrides({
        'target_locales': 'zh,de', 'autostart': 'false', 'use_sim_time': 'True',
        'model_path': '/models/hy-mt', 'glossary_files': 'a.tsv', 'input_mode': 'hri',
        'namespace': '/not/a/parameter',
    }) == {
        'target_locales': ['zh', 'de'], 'autostart': False, 'use_sim_time': True,
        'model.path': '/models/hy-mt', 'glossary.files': ['a.tsv'], 'input.mode': 'hri',
    }


def test_a_refusal_names_the_argument():
    with pytest.raises(ValueError, match="launch argument autostart: 'maybe'"):
        overrides({'autostart': 'maybe'})


def test_the_reason_says_how_the_node_ended():
    assert "hymt_node 'translator' ended with exit code 2" in exit_reason(
        'hymt_node', 2, 'translator')
    assert 'parameter' in exit_reason('hymt_node', 2, 'translator')
    assert 'signal 9' in exit_reason('hymt_node', -9, 'translator')
