"""What is typed for SlapOS's node commands is understood by ours, and what means nothing here is said to."""

import argparse
import importlib
import subprocess
from pathlib import Path

import pytest

from slap.cli.commands import GROUPS
from slap.cli.main import SlapApp, World
from slap.cli.node.format import altered
from slap.cli.node.options import configured, names, pid_file, remarks
from slap.model.errors import UsageError
from slap.node.core.config import NodeConfig, default_root
from slap.node.passes import PassRuns
from tests.unit.cli.slapos_options import ARGUMENTS, FLAGS, NODE_OPTIONS, NUMBERS, VALUES

COMMANDS = {entry.name: entry for group in GROUPS.values() for entry in group}
ROWS = [(command, option) for command, options in NODE_OPTIONS.items() for option in sorted(options)]


def parser_of(command: str) -> argparse.ArgumentParser:
    module, _, kind = COMMANDS[f"node {command}"].value.partition(":")
    made = getattr(importlib.import_module(module), kind)(SlapApp(World()), None)
    parser: argparse.ArgumentParser = made.get_parser(f"slapos node {command}")
    return parser


def parse(command: str, *words: str) -> argparse.Namespace:
    return parser_of(command).parse_args([*words, *ARGUMENTS.get(command, [])])


@pytest.mark.parametrize("command", NODE_OPTIONS)
def test_every_node_command_of_slapos_is_there(command: str) -> None:
    assert f"node {command}" in COMMANDS


@pytest.mark.parametrize(("command", "option"), ROWS)
def test_every_option_of_slapos_is_understood(command: str, option: str) -> None:
    value = VALUES.get(option, "20" if option in NUMBERS else "some/value")
    parse(command, *([option] if option in FLAGS else [option, value]))


@pytest.mark.parametrize(
    ("command", "words"),
    [("software", ("--all", "--only-sr", "x")), ("instance", ("--all", "--only-cp", "x"))],
)
def test_all_and_only_exclude_each_other_as_in_slapos(command: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        parse(command, *words)


@pytest.mark.parametrize("value", ["soon", "-1", "0", "1.5"])
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(SystemExit):
        parse("instance", f"--promise-timeout={value}")


def test_options_replace_what_the_file_says(tmp_path: Path) -> None:
    words = ("--master-url", "http://other", "--instance-root", "srv2", "--promise-timeout", "7")
    config = configured(NodeConfig(**default_root(tmp_path)), parse("instance", *words), tmp_path)
    assert (config.master_url, config.instance_root, config.promise_timeout) == ("http://other", tmp_path / "srv2", 7)
    assert config.software_root == tmp_path / "opt"


def test_what_means_nothing_here_is_said_in_one_line_each() -> None:
    words = ("--buildout", "x", "--supervisord-socket", "y", "--buildout-debug", "--now", "--maximal_delay", "3")
    lines = list(remarks(parse("instance", *words)))
    assert [line.split()[0] for line in lines] == [
        "--supervisord-socket", "--buildout", "--maximal_delay", "--buildout-debug",
    ]  # fmt: skip
    assert all("changes nothing here: " in line and "\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("given", "found"),
    [([], set()), (["a,b", " c "], {"a", "b", "c"}), (["slappart0, slappart1"], {"slappart0", "slappart1"})],
)
def test_names_are_lists_with_commas_or_repeated(given: list[str], found: set[str]) -> None:
    assert names(given) == found


def test_naming_nothing_is_not_naming_all() -> None:
    with pytest.raises(UsageError):
        names([","])


def test_users_and_network_can_be_left_alone_for_once(tmp_path: Path) -> None:
    config = NodeConfig(**default_root(tmp_path), format={"alter_user": "true", "alter_network": "true"})
    changed = altered(config, parse("format", "--alter_user", "False"))
    assert (changed.format.alter_user, changed.format.alter_network) == (False, True)


def test_a_pid_file_is_there_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("999999999\n")  # of one that is gone
    with pid_file(path):
        assert path.read_text().strip().isdecimal()
    assert not path.exists()


def test_a_pass_whose_pid_file_names_a_running_slapos_is_refused(tmp_path: Path) -> None:
    other = subprocess.Popen(["/bin/sh", "-c", "read line", "slapos"], stdin=subprocess.PIPE)
    (tmp_path / "pid").write_text(str(other.pid))
    with pytest.raises(PassRuns, match="already") as refused, pid_file(tmp_path / "pid"):
        pass
    other.communicate()
    assert (refused.value.exit_code, (tmp_path / "pid").exists()) == (10, True)
