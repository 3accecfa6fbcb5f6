"""Locked Python packages: what counts as a lock, and which Python everybody may run."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from slap.recipes.python import Recipe, move_texts, read_lock
from slap.system.environment import is_open_to_all
from tests.unit.recipes.parts import ScriptedRunner, failure, part_of, refusal

HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("idna==3.10", ("idna==3.10",)),
        ("# why\nidna==3.10  # because\n\n", ("idna==3.10",)),
        (f"idna==3.10 \\\n    {HASH} \\\n    {HASH}\n", (f"idna==3.10 {HASH} {HASH}",)),
        ("a.b_c[x,y]==1.0+local ; python_version >= '3.9'", ("a.b_c[x,y]==1.0+local ; python_version >= '3.9'",)),
    ],
)
def test_a_lock_has_one_version_a_line(text: str, lines: tuple[str, ...]) -> None:
    assert (read_lock(text).lines, read_lock(text).problems) == (lines, ())


@pytest.mark.parametrize(
    "line",
    [
        "idna",
        "idna>=3",
        "idna==3.*",
        "idna==3,<4",
        "--index-url x",
        "-r other",
        "idna @ file:///x",
        "./x.whl",
        "a==1 --pre",
    ],
)
def test_what_is_not_pinned_is_told(line: str, tmp_path: Path) -> None:
    assert f"has {line!r}: write name==version" in refusal(Recipe, tmp_path, requirements=f"good==1\n{line}")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = refusal(Recipe, tmp_path, requirements_file="lock.txt", executable="python9")
    assert "lock.txt, which is not a file" in said and "python9, which is not a file" in said


def test_a_changed_lock_file_is_a_reason_to_build_anew(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("idna==3.10\n")
    assert part_of(Recipe, tmp_path, requirements_file="lock.txt").options["locked"] == "idna==3.10"


@pytest.mark.parametrize(("lock", "strict"), [("idna==3.10", False), (f"idna==3.10 {HASH}", True)])
def test_hashes_are_required_once_there_are_any(lock: str, strict: bool, tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, requirements=lock, from_source="idna")
    part.runner = runner = ScriptedRunner(lambda argv: 1 if "install" in argv else 0)
    failure(part)
    install = runner.commands[-1].argv
    assert ("--require-hashes" in install) is strict
    assert "--no-deps" in install and install[install.index("--no-binary") + 1] == "idna"


def test_what_is_needed_but_not_locked_is_named(tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, requirements="jinja2==3.1.6")

    def answer(argv: Sequence[str]) -> str | int:
        return 1 if "check" in argv else 0

    part.runner = ScriptedRunner(answer)
    assert "the lock of Python packages is not complete" in failure(part)


def test_a_python_in_a_closed_home_is_not_for_everybody(tmp_path: Path) -> None:
    # The temporary folder itself may be closed to others, so the comparison is with that.
    python = tmp_path / "home" / "python"
    python.parent.mkdir()
    python.touch(0o755)
    python.parent.chmod(0o700)
    assert not is_open_to_all(python)
    assert is_open_to_all(Path("/usr/bin/env"))
    assert not is_open_to_all(Path("/usr/bin/no-such-python"))


def test_starters_name_the_final_place_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "pyvenv.cfg").write_text(f"command = python -m venv {tmp_path}\n")
    (tmp_path / "bin" / "tool").write_text(f"#!{tmp_path}/bin/python\n")
    (tmp_path / "bin" / "tool").chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to("/usr/bin/python3")
    move_texts(tmp_path, tmp_path, Path("/final"))
    assert (tmp_path / "bin" / "tool").read_text() == "#!/final/bin/python\n"
    assert (tmp_path / "bin" / "tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "pyvenv.cfg").read_text() == "command = python -m venv /final\n"
    assert (tmp_path / "bin" / "python").is_symlink()
