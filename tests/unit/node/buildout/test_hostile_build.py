"""What a partition's own programs leave for its next instantiation: nothing of it is evaluated, nor believed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import zc.buildout.configparser
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slap.model.errors import InvalidInput
from slap.node.buildout.installed import read_installed
from slap.node.buildout.job import BuildResult
from slap.node.buildout.record import parse_record, read_record

_EVIL = "open('/proof', 'w')"


@pytest.mark.parametrize(
    "header",
    [
        f"[x : {_EVIL}]",
        f"[x:{_EVIL}]",
        f"[ x :{_EVIL} ]",
        f"[x : {_EVIL}] # a comment",
        f"[x : {_EVIL}];",
        "[x : python_version > '3']",  # of the kind that packaging evaluates
        "[x : ]",
        "[x :\t1]",
        "[x : 1] \x0b",
        "[x : '\\x5d']",
    ],
)
def test_an_expression_in_a_record_is_an_error_with_its_place(tmp_path: Path, header: str) -> None:
    path = tmp_path / ".installed.cfg"
    path.write_text(f"[buildout]\nparts = a\n\n{header}\nb = c\n")
    with pytest.raises(InvalidInput, match=r"\.installed\.cfg, line 4: .* expression"):
        read_record(path)


@given(st.text(alphabet="[]:ab=+-#; \t\n\r\x0b\x0c\x85\u2028'()%$<>\\", max_size=80))
def test_no_text_is_evaluated(text: str) -> None:
    """An expression that came to be evaluated would mostly be a SyntaxError or a NameError."""
    try:
        sections = parse_record(text, "record")
    except (InvalidInput, zc.buildout.configparser.Error):
        return
    assert all(isinstance(value, str) for section in sections.values() for value in section.values())


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "missing"])
def test_a_record_that_is_no_ordinary_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".installed.cfg"
    (tmp_path / "other").write_text("[buildout]\n")
    {"link": lambda: path.symlink_to("other"), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}.get(kind, str)()
    with pytest.raises(InvalidInput, match="no ordinary file"):
        read_record(path)


_HEX = "0123456789abcdef"
_FORGED: list[dict[str, Any]] = [
    {"installed": {"services": {"a": 'x"\nuser = root\n'}}},
    {"installed": {"services": {"a": "ABCDEF"}}},
    {"installed": {"services": {"a": _HEX * 5}}},
    {"installed": {"services": {"a": None}}},
    {"installed": {"services": {"a\nb": ""}}},
    {"installed": {"runs": {"../../bin/sh": ""}}},
    {"installed": {"services": {f"s{number}": "" for number in range(1001)}}},
    {"installed": {"crons": {"a": "* * * * * true\n* * * * * true"}}},
    {"installed": {"crons": {"a": "* * * * * " + "x" * 70_000}}},
    {"installed": {"patience": {"a": 10**9}}},
    {"installed": {"patience": {"a": -1}}},
    {"installed": {"checks": {"a": {"check": "command", "command": ["true"], "timeout": 10**6}}}},
    {"installed": {"checks": {"a": {"check": "command", "command": ["true\0"]}}}},
    {"installed": {"checks": {"a": {"check": "command", "command": [], "environment": {}}}}},
    {"installed": {"checks": {"a": {"check": "command", "command": ["true"], "environment": {"A=B": "c"}}}}},
    {"installed": {"checks": {"a": {"check": "port", "host": "h\r\nX: y", "port": 1}}}},
    {"installed": {"checks": {"a": {"check": "url", "host": "h", "port": 1, "path": "/ HTTP/1.1\r\nHost: x"}}}},
    {"installed": {"checks": {"a": {"check": "port", "host": "h", "port": 1, "frequency": 1e300}}}},
    {"installed": {"checks": {"a": {"check": "machine", "grace": 1e300}}}},
    {"installed": {"checks": {"a": {"check": "plugin", "path": "/x\n"}}}},
    {"installed": {"more": {}}},
    {"children": -1},
    {"children": 1 << 70},
    {"fingerprint": "../../etc"},
    {"outcome": "root"},
    {"connection": []},
    {"user": 0},
]


@pytest.mark.parametrize("forged", _FORGED, ids=lambda forged: json.dumps(forged)[:80])
def test_a_forged_answer_is_refused(forged: dict[str, Any]) -> None:
    good = {"id": 1, "outcome": "done", "installed": {"services": {"a": ""}}}
    BuildResult.model_validate_json(json.dumps(good))
    with pytest.raises(ValidationError):
        BuildResult.model_validate_json(json.dumps({**good, **forged}))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_json_has_not_are_refused(text: str) -> None:
    check = f'{{"check": "port", "host": "h", "port": 1, "frequency": {text}}}'
    with pytest.raises(ValidationError):
        BuildResult.model_validate_json(f'{{"id": 1, "outcome": "done", "installed": {{"checks": {{"a": {check}}}}}}}')


def test_a_crontab_of_several_lines_is_no_schedule(tmp_path: Path) -> None:
    for name in ("etc/run", "etc/service", "etc/promise", "etc/plugin", "etc/cron.d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/cron.d/a").write_text("* * * * * true\n* * * * * false\n")
    record = "[buildout]\nparts = b\n[b]\nrecipe = slap:cron\n__buildout_installed__ = etc/cron.d/a\n"
    (tmp_path / ".installed.cfg").write_text(record)
    with pytest.raises(InvalidInput, match="several lines"):
        read_installed(tmp_path)


@pytest.mark.parametrize(
    "text", ["x = 1\n", "[a]\n= b\n", "[a\n", "<<<\n"], ids=["no section", "no name", "half", "noise"]
)
def test_a_record_that_buildout_does_not_understand_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_record(text, ".installed.cfg")
