"""Nothing that another side says reaches a terminal or a log as it came."""

import io
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import slap
from slap.cli.main import report_defect
from slap.cli.output import harmless, say, show_error
from slap.model.errors import NotFound, SlapError
from slap.model.instance import Instance
from slap.model.usage import UsageSeries
from slap.system.trust.terminal import LogFormatter, SafeStream, escape_controls
from tests.unit.cli.fakes import FakeTransport, Shell, a_tree, an_instance

ATTACKS = {
    "bell": "a\x07b",
    "backspaces over what was said": "refused\b\b\b\b\b\b\btaken",
    "back to the line's begin": "refused\rtaken",
    "clear the screen": "\x1b[2J\x1b[Hroot#",
    "hidden text": "\x1b[8mhidden\x1b[0m",
    "title of the window": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "answer back": "\x1b[6n\x1bZ\x05",
    "a sequence within a sequence": "\x1b\x1b[2J[2J",
    "8 bit sequence": "\x9b2J",
    "8 bit command": "\x9d0;title\x9c",
    "vertical tabulator and form feed": "a\x0b\x0cb",
    "delete and null": "a\x7f\x00b",
    "right to left": "user\u202egpj.exe",
    "isolates": "\u2066a\u2067b\u2068c\u2069",
    "marks of direction": "\u200ea\u200fb\u061cc",
    "line separators of Unicode": "a\u2028b\u2029c\x85d",
}
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

attacks = pytest.mark.parametrize("text", ATTACKS.values(), ids=list(ATTACKS))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@attacks
def test_control_characters_are_escaped(text: str) -> None:
    assert not _RAW.search(escape_controls(text)), "escaped"
    assert not _RAW.search(harmless(text)), "for people"


@attacks
def test_logs_have_no_control_characters(text: str) -> None:
    log, lines = logging.Logger("slap"), io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(LogFormatter("%(levelname)s %(name)s %(message)s"))
    log.addHandler(handler)
    try:
        raise SlapError(text)
    except SlapError:
        log.exception("A cache said %s", text)
    assert "ERROR slap A cache said" in lines.getvalue()
    assert not _RAW.search(lines.getvalue())


@attacks
def test_a_terminal_gets_our_colours_and_nobody_elses_controls(text: str) -> None:
    terminal = Terminal()
    SafeStream(terminal).writelines(["\x1b[32mready\x1b[0m\n", f"{text}\n"])
    written = terminal.getvalue()
    assert written.startswith("\x1b[32mready\x1b[0m\n")
    assert not _RAW.search(re.sub("\x1b\\[(32|0)m", "", written))


@attacks
def test_what_goes_to_stderr_has_no_control_characters(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(text)
    show_error(SlapError(text, text, text))
    report_defect(ValueError, ValueError(text), None)
    written = capsys.readouterr().err
    assert written
    assert not _RAW.search(written)


HOSTILE = "\x1b]0;x\x07\x9b2J\u202e"


@pytest.mark.parametrize("form", ["table", "value", "csv", "json", "yaml"])
def test_lists_show_no_controls_of_instances(shell: Shell, form: str) -> None:
    master = FakeTransport({"GET /instances": [[_hostile_instance()]]})
    result = shell.run(master, "service", "list", "-f", form)
    assert result.status == 0
    assert not _RAW.search(result.out + result.err)


@pytest.mark.parametrize("form", ["table", "value", "json", "yaml", "shell"])
def test_details_show_no_controls_of_instances(shell: Shell, form: str) -> None:
    mine = _hostile_instance()
    answers: dict[str, list[Any]] = {
        "GET /instances": [[mine]],
        "GET /instances/INST-1/tree": [a_tree(mine)],
        "GET /releases": [[]],
        f"GET /computers/{quote(HOSTILE)}": [NotFound(HOSTILE)],
        "GET /instances/INST-1/usage": [UsageSeries(instance="INST-1", partition="slappart0")],
    }
    result = shell.run(FakeTransport(answers), "service", "info", "hello", "-f", form)
    assert result.status == 0
    assert not _RAW.search(result.out + result.err)


def test_logs_of_services_and_errors_of_masters_show_no_controls(shell: Shell) -> None:
    logs: dict[str, list[Any]] = {
        "GET /instances": [[_hostile_instance()]],
        "GET /instances/INST-1/logs": [{"text": HOSTILE}],
    }
    assert not _RAW.search(shell.run(FakeTransport(logs), "service", "logs", "hello").out)
    refused = shell.run(FakeTransport({"GET /instances": [SlapError(HOSTILE, HOSTILE, HOSTILE)]}), "service", "list")
    assert refused.err
    assert not _RAW.search(refused.err)


def _hostile_instance() -> Instance:
    return an_instance(
        reference=f"hello{HOSTILE}", message=HOSTILE, connection={HOSTILE: HOSTILE}, parameters={HOSTILE: HOSTILE},
        software_release=f"/r/{HOSTILE}/software.cfg", computer=HOSTILE, partition=HOSTILE, reported="error",
    )  # fmt: skip


def test_all_our_logs_are_written_by_the_formatter_that_escapes() -> None:
    """But for the log of a promise, which is its partition's own file."""
    sources = (path for path in Path(slap.__path__[0]).rglob("*.py") if "logging.Formatter(" in path.read_text())
    assert {path.name for path in sources} == {"plugin_base.py"}
