"""What an instantiation left in a partition, as the node takes it up; and what of a build's words is told."""

import io
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from slap.model.check import CommandCheck, PluginCheck
from slap.model.errors import InvalidInput
from slap.node.buildout.installed import read_connection, read_installed
from slap.node.buildout.redaction import RedactingStream, redact
from slap.node.core.store import Installed

FOLDERS = ("etc/run", "etc/service", "etc/promise", "etc/plugin", "etc/cron.d")


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    for name in FOLDERS:
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def put(partition: Path, *names: str, text: str = "") -> None:
    for name in names:
        path = partition / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_programs_and_promises_of_all_kinds(partition: Path) -> None:
    put(partition, "etc/service/web", "etc/run/once", "etc/promise/up", "etc/plugin/listens.py")
    put(
        partition, "etc/plugin/__init__.py", "etc/plugin/x.pyc", "etc/plugin/__pycache__/listens.pyc", "etc/run/.hidden"
    )
    installed = read_installed(partition)
    assert (list(installed.services), list(installed.runs)) == (["web"], ["once"])
    up, listens = installed.checks["up"], installed.checks["listens"]
    assert isinstance(up, CommandCheck) and isinstance(listens, PluginCheck)
    assert (listens.path, listens.timeout, listens.frequency) == (str(partition / "etc/plugin/listens.py"), 20, 120)
    assert sorted(installed.checks) == ["listens", "up"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("etc/service/a", "etc/run/a"), "called a"),
        (("etc/promise/a", "etc/plugin/a.py"), "called a"),
        (("etc/plugin/a.py", "etc/plugin/a.json"), "called a"),
        (("etc/plugin/a.sh",), "of a kind that is not run"),
        (("etc/plugin/a.json",), "is wrong"),
        (("etc/service/a b",), "not a name"),
    ],
)
def test_what_cannot_be_taken_up_is_named(partition: Path, files: tuple[str, ...], words: str) -> None:
    put(partition, *files)
    with pytest.raises(InvalidInput, match=words):
        read_installed(partition)


def test_only_schedules_of_our_recipes_are_for_the_node(partition: Path) -> None:
    put(partition, "etc/cron.d/ours", "etc/cron.d/theirs", "etc/cron.d/nobodys", text="* * * * * true\n")
    put(
        partition,
        ".installed.cfg",
        text="[buildout]\nparts = a\n[a]\nrecipe = slapos.cookbook:cron.d\n"
        "__buildout_installed__ = etc/cron.d/theirs\n",
    )
    record = (
        f"[buildout]\nparts = b\n[b]\nrecipe = slap:cron\n__buildout_installed__ = x\n\t{partition}/etc/cron.d/ours\n"
    )
    put(partition, ".installed-switch.cfg", text=record)
    assert read_installed(partition).crons == {"ours": "* * * * * true"}


def test_who_publishes_by_himself_leaves_nothing_to_report(partition: Path) -> None:
    assert read_connection(partition) is None
    put(partition, ".slapos-connection.json", text='{"a": 1}')
    assert read_connection(partition) == {"a": 1}


@pytest.mark.parametrize("said", ["a:b:0123456789abcdef", "http://p:a%3Ab%3A0123456789abcdef@h", "0123456789abcdef"])
def test_a_token_is_not_told(said: str) -> None:
    stream = io.StringIO()
    out = RedactingStream(stream, "a:b:0123456789abcdef")
    print(f"<{said}>", file=out, flush=True)
    assert "0123456789abcdef" not in stream.getvalue()
    assert stream.getvalue().startswith("<") and not out.isatty() and out.writable()
    assert redact(said, "") == said


@pytest.mark.parametrize("kind", ["services", "runs", "checks", "crons"])
@pytest.mark.parametrize("name", ["web\nuser=root", "../../web", "", "-w", "web\n"])
def test_a_forged_result_names_nothing_that_is_no_file_name(kind: str, name: str) -> None:
    """The process that tells it ran as the tenant; root writes these names into supervisord's configuration."""
    value = {"check": "command", "command": ["/bin/true"], "timeout": 1} if kind == "checks" else "f"
    Installed.model_validate_json(json.dumps({kind: {"web": value}}))
    with pytest.raises(ValidationError):
        Installed.model_validate_json(json.dumps({kind: {name: value}}))
