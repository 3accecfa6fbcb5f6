"""What can be typed to SlapOS's command can be typed to ours."""

import argparse
from collections.abc import Iterator

import pytest

from slap.cli.commands import GROUPS
from slap.cli.main import SlapApp, World
from tests.unit.cli.client_options import COMMANDS, COMMON, TYPED, Option

# The single-machine master has a table of its own, with the tests of that master.
ELSEWHERE: set[str] = set()
HERE = [each for each in COMMANDS if each.command not in ELSEWHERE]
ENTRIES = {entry.name: entry for group in GROUPS.values() for entry in group}


def parser_of(command: str) -> argparse.ArgumentParser:
    app = SlapApp(World())
    app.options = app.parser.parse_args([])
    parser: argparse.ArgumentParser = ENTRIES[command].load()(app, app.options, cmd_name=command).get_parser(command)
    return parser


@pytest.mark.parametrize(
    "wanted", [each for each in HERE if each.names], ids=lambda each: f"{each.command} {each.names}"
)
def test_each_option_is_there_and_takes_the_same(wanted: Option) -> None:
    known = parser_of(wanted.command)._option_string_actions
    for name in wanted.names:
        assert name in known, f"slapos {wanted.command} has no {name}"
        assert arity(known[name]) == wanted.takes


@pytest.mark.parametrize("command", sorted({each.command for each in HERE}))
def test_each_command_takes_the_same_arguments(command: str) -> None:
    theirs = [each.takes for each in HERE if each.command == command and not each.names]
    ours = [arity(action) for action in positionals(parser_of(command))]
    assert ours[: len(theirs)] == theirs
    assert all(more in ("?", "*") for more in ours[len(theirs) :])


def test_what_all_commands_take_is_there() -> None:
    known = SlapApp(World()).parser._option_string_actions
    assert [name for name in COMMON if name not in known] == []


@pytest.mark.parametrize("typed", TYPED)
def test_what_people_type_is_understood(typed: str) -> None:
    words = typed.split()
    command = next(name for name in (" ".join(words[:2]), words[0]) if name in ENTRIES)
    parser_of(command).parse_args(words[len(command.split()) :])


def test_every_command_is_in_the_table() -> None:
    assert {each.command for each in COMMANDS} | {"proxy start"} <= set(ENTRIES)


def arity(action: argparse.Action) -> int | str:
    return 1 if action.nargs is None else action.nargs


def positionals(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in parser._actions if not action.option_strings)
