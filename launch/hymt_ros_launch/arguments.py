"""From launch arguments, which are text, to parameters of the node.

An argument that is left empty becomes no parameter at all: what the parameter file says stays.
"""

from typing import Callable, Dict, List, Mapping, NamedTuple, Union

Value = Union[bool, str, List[str]]


def comma_list(text: str) -> List[str]:
    """Split ``zh, de`` into ``['zh', 'de']``; places with nothing in them do not count."""
    return [item.strip() for item in text.split(',') if item.strip()]


def boolean(text: str) -> bool:
    """Read ``true`` or ``false`` in the spellings that launch files use."""
    word = text.strip().lower()
    if word in ('true', '1', 'yes', 'on'):
        return True
    if word in ('false', '0', 'no', 'off'):
        return False
    raise ValueError(f"'{text}' is neither true nor false")


class ParameterArgument(NamedTuple):
    """A launch argument that sets one parameter of the node."""

    parameter: str
    parse: Callable[[str], Value]
    description: str


# A name that ROS gives to another argument (`glossary_files`) maps to ours (`glossary.files`).
PARAMETER_ARGUMENTS: Dict[str, ParameterArgument] = {
    'use_sim_time': ParameterArgument(
        'use_sim_time', boolean, 'Take stamps from /clock: true or false.'),
    'autostart': ParameterArgument(
        'autostart', boolean,
        'Configure and activate at the start: true or false (for a lifecycle manager).'),
    'model_path': ParameterArgument(
        'model.path', str, 'Folder of the model; the embedded demo model where no file names one.'),
    'source_locale': ParameterArgument(
        'source_locale', str, 'Language of what is heard, or auto.'),
    'target_locales': ParameterArgument(
        'target_locales', comma_list, 'Languages to translate into, for example zh,de.'),
    'input_mode': ParameterArgument(
        'input.mode', str, 'What is listened to: topic, hri or both.'),
    'glossary_files': ParameterArgument(
        'glossary.files', comma_list, 'Glossary files, separated by commas.'),
    'engine': ParameterArgument(
        'engine', str, 'What runs the model: auto, cpu, cuda, tensorrt or scripted.'),
}


def overrides(arguments: Mapping[str, str]) -> Dict[str, Value]:
    """Return the parameters that the arguments set; empty ones set none."""
    parameters: Dict[str, Value] = {}
    for name, argument in PARAMETER_ARGUMENTS.items():
        text = arguments.get(name, '').strip()
        if not text:
            continue
        try:
            value = argument.parse(text)
        except ValueError as error:
            raise ValueError(f'launch argument {name}: {error}') from None
        if value != []:
            parameters[argument.parameter] = value
    return parameters


def exit_reason(executable: str, returncode: int, name: str) -> str:
    """Say why the launch ends when the node did."""
    how = f'signal {-returncode}' if returncode < 0 else f'exit code {returncode}'
    hints = {2: 'an argument or a parameter is not valid; the line above names it'}
    hint = hints.get(returncode, 'its last lines above say why; use_respawn:=true restarts it')
    return f"{executable} '{name}' ended with {how}: {hint}"
