"""Builds and services get a clean environment."""

import os
import sys
from pathlib import Path

import pytest

from slap.system import environment
from slap.system.process import Command, SystemRunner

SHOW_CLEAN = """
from pathlib import Path
from slap.system.environment import clean
print(sorted(clean(Path('/home/a'))))
"""
BECOME_CLEAN = """
import os
from pathlib import Path
from slap.system.environment import become, clean
become(clean(Path('/home/a')))
os.execv('/usr/bin/env', ['env'])
"""
BASE = {"PATH", "HOME", "LANG", "TZ"}


@pytest.mark.parametrize(
    ("ours", "kept"),
    [
        ("PYTHONPATH", False),
        ("LD_PRELOAD", False),
        ("SECRET_TOKEN", False),
        ("LC_ALL", False),
        ("https_proxy", True),
        ("PIP_INDEX_URL", True),
        ("npm_config_registry", True),
        ("SSL_CERT_FILE", True),
    ],
)
def test_only_the_way_to_the_registries_is_passed_on(ours: str, kept: bool) -> None:
    names = _python(SHOW_CLEAN, {ours: ""})
    assert names == f"{sorted(BASE | {ours} if kept else BASE)}\n"


def test_a_process_can_clean_itself() -> None:
    lines = _python(BECOME_CLEAN, {"SECRET_TOKEN": "x", "HOME": "/root"}).splitlines()
    assert {line.partition("=")[0] for line in lines} == BASE
    assert "HOME=/home/a" in lines


def test_what_is_said_explicitly_wins() -> None:
    assert (
        environment.clean(Path("/home/a"), {"PATH": "/part/bin", "A": "b"}).items()
        >= {"PATH": "/part/bin", "A": "b"}.items()
    )


def test_our_own_programs_are_beside_our_python() -> None:
    assert os.access(environment.own_program("slapos"), os.X_OK)


def test_a_variable_that_is_not_set_has_its_default() -> None:
    assert environment.variable("SLAP_NO_SUCH_VARIABLE", "default") == "default"


def _python(code: str, env: dict[str, str]) -> str:
    return SystemRunner().run(Command((sys.executable, "-c", code), env=env)).check().stdout


def test_a_service_gets_nothing_that_may_hold_a_password() -> None:
    told = "import sys; from pathlib import Path; from slap.system.environment import bare; print(*bare(Path('/p')))"
    ours = {"PIP_INDEX_URL": "https://me:secret@host/", "HTTPS_PROXY": "http://me:secret@host/", "PATH": "/bin"}
    done = SystemRunner().run(Command((sys.executable, "-c", told), env=ours)).check()
    assert done.stdout.split() == ["PATH", "HOME", "LANG", "TZ"]


def test_a_command_is_typed_by_its_shortest_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = environment.own_program("slapos")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.typed("slapos", tmp_path) == str(program)
    assert environment.typed("slapos", program.parents[1]) == str(Path(program.parent.name) / "slapos")
    monkeypatch.setenv("PATH", str(program.parent))
    assert environment.typed("slapos", tmp_path) == "slapos"
