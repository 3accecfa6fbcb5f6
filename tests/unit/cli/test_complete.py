"""What is said to shells that complete; tests/system has a real bash do it."""

import pytest

from slap.cli.console.complete import Described, bash_script, fish_script, plain_list
from tests.unit.cli.fakes import FakeTransport, Shell

COMMANDS = [
    Described("request", ("--cfg", "--node"), "Order a service"),
    Described("service list", ("-c",), "List your services"),
    Described("computer info", ("--cfg",), "Show a computer"),
]


def test_names_are_asked_of_the_master_where_they_are_wanted() -> None:
    assert [each.names.split(" -f")[0] for each in COMMANDS] == ["service list", "", "computer list"]


def test_a_script_for_bash_is_made_for_any_name() -> None:
    script = bash_script("my-slapos", COMMANDS)
    assert "    [request]='--cfg --node'\n" in script
    assert "    ['service list']=-c\n" in script
    assert "complete -o default -F _my_slapos_complete my-slapos\n" in script


def test_a_script_for_fish_has_commands_options_and_names() -> None:
    lines = fish_script("slapos", COMMANDS).splitlines()
    assert "complete -c slapos -n __fish_use_subcommand -a request -d 'Order a service'" in lines
    assert "complete -c slapos -n '__fish_seen_subcommand_from request' -l node" in lines
    assert "complete -c slapos -n '__fish_seen_subcommand_from service' -a list -d 'List your services'" in lines
    assert len(lines) == len(set(lines))


def test_a_plain_list_is_one_line_for_each_command() -> None:
    assert plain_list("slapos", COMMANDS).splitlines()[0] == "slapos request: --cfg --node"


@pytest.mark.parametrize("shell_name", ["bash", "fish", "none"])
def test_every_command_is_completed(shell: Shell, shell_name: str) -> None:
    outcome = shell.run(FakeTransport({}), "complete", "--shell", shell_name)
    assert outcome.status == 0
    assert "parameters-file" in outcome.out or "-l parameters-file" in outcome.out
