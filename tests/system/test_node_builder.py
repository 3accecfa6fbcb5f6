"""The warm builder, real: builds side by side, and none of them can harm it or another, whatever its recipes do."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slap.node.build.builder import WarmBuilder
from slap.node.build.job import BuildJob, BuildResult, Outcome
from tests.system.cloud import eventually

_PROFILE = """\
[buildout]
parts = part
directory = {folder}
offline = true
[part]
recipe = misbehaving
"""
_ENTRY_POINTS = "[zc.buildout]\ndefault = misbehaving:Recipe\n"
_INFO = "Metadata-Version: 2.1\nName: misbehaving\nVersion: 1\n"
_RECIPE = """\
import os, socket, subprocess, sys, time
class Recipe:
    def __init__(self, buildout, name, options):
        pass
    def install(self):
{code}
        return []
    update = install
"""


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[WarmBuilder]:
    made = WarmBuilder(tmp_path)
    yield made
    made.close()


def job(folder: Path, code: str, timeout: float = 30) -> BuildJob:
    """The build of a release whose one recipe does what `code` says."""
    info = folder / "recipe/misbehaving.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text(_INFO)
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
    (folder / "develop-eggs").mkdir()
    (folder / "develop-eggs/misbehaving.egg-link").write_text(f"{folder}/recipe\n.")
    body = "\n".join(f"        {line}" for line in code.splitlines())
    (folder / "recipe/misbehaving.py").write_text(_RECIPE.format(code=body))
    profile = _PROFILE.format(folder=folder)
    return BuildJob(id=0, folder=str(folder), profile=profile, log=str(folder / "log"), timeout=timeout)


def beside(builder: WarmBuilder, bad: BuildJob, good: BuildJob) -> tuple[BuildResult, BuildResult]:
    """Both at the same time."""
    found: list[BuildResult] = []
    thread = threading.Thread(target=lambda: found.append(builder.build(bad)))
    thread.start()
    result = builder.build(good)
    thread.join(60)
    return found[0], result


GOOD = "open('instance.cfg', 'w').close()"
# What a child has open: 0, 1, 2, then whatever it was given. It finds the pipe for its result and abuses it.
_PIPES = """
def is_pipe(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith("pipe:")
    except OSError:
        return False
pipes = [number for number in range(3, 100) if is_pipe(number)]
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('no such luck')", "no such luck"),
        ("os._exit(7)", "status 7"),
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("sys.exit(3)", ""),
        (_PIPES + "[os.write(n, b'{nonsense\\n') for n in pipes]\ntime.sleep(60)", "broke off"),
        (_PIPES + '[os.write(n, b\'{"id": 2, "outcome": "done"}\\n\') for n in pipes]\ntime.sleep(60)', None),
        (_PIPES + "[os.close(n) for n in pipes]\ntime.sleep(60)", "signal 9"),
        (_PIPES + "while True: os.write(pipes[-1], b'x' * 65536)", "broke off"),
    ],
)
def test_a_build_that_misbehaves_harms_no_other(
    builder: WarmBuilder, tmp_path: Path, code: str, words: str | None
) -> None:
    bad, good = beside(builder, job(tmp_path / "bad", code), job(tmp_path / "good", GOOD))
    assert (good.outcome, bool(good.fingerprint)) == (Outcome.DONE, True)
    assert bad.fingerprint == ""
    assert words is None or (bad.outcome is Outcome.FAILED and words in bad.message)
    assert builder.build(job(tmp_path / "next", GOOD)).outcome is Outcome.DONE


def test_each_build_is_a_fork_of_one_process(builder: WarmBuilder, tmp_path: Path) -> None:
    """Which has loaded Python and buildout: most of what a build costs otherwise."""
    families = set()
    for number in range(3):
        code = f"open('family', 'w').write(f'{{os.getppid()}} {{open(\"/proc/self/cmdline\").read()}}')\n{GOOD}"
        assert builder.build(job(tmp_path / str(number), code)).outcome is Outcome.DONE
        families.add((tmp_path / str(number) / "family").read_text())
    ((parent, _, words),) = (each.partition(" ") for each in families)
    assert words == Path(f"/proc/{parent}/cmdline").read_text()
    assert "zygote" in words
    assert int(parent) in _children()


@pytest.mark.parametrize(
    "launch", ["subprocess.Popen(['sleep', '300'])", "os.fork() or (os.setsid(), time.sleep(300))"]
)
def test_a_build_that_hangs_is_ended_in_time(builder: WarmBuilder, tmp_path: Path, launch: str) -> None:
    started = time.monotonic()
    result = builder.build(job(tmp_path / "a", f"{launch}\ntime.sleep(300)", timeout=1.5))
    assert (result.outcome, "more than 1.5 s" in result.message) == (Outcome.FAILED, True)
    assert time.monotonic() - started < 15
    _end_sleepers(tmp_path)


def test_what_a_build_leaves_behind_keeps_nobody_waiting(builder: WarmBuilder, tmp_path: Path) -> None:
    """A daemon that kept the pipe of the result, the log and its lock; the next build of the folder is not held up."""
    code = "import os\nif not os.fork():\n    os.setsid(); time.sleep(300)\n" + GOOD
    folder = tmp_path / "a"
    first = job(folder, code, timeout=20)
    assert builder.build(first).outcome is Outcome.DONE
    started = time.monotonic()
    (folder / "recipe/misbehaving.py").write_text(_RECIPE.format(code=f"        {GOOD}"))
    again = builder.build(first)
    assert (again.outcome, time.monotonic() - started < 10) == (Outcome.DONE, True), again
    _end_sleepers(tmp_path)


def test_a_builder_that_is_killed_is_replaced_and_its_jobs_are_begun_anew(builder: WarmBuilder, tmp_path: Path) -> None:
    found: list[BuildResult] = []
    code = f"if not os.path.exists('started'):\n    open('started', 'w').close(); time.sleep(60)\n{GOOD}"
    slow = job(tmp_path / "slow", code)
    thread = threading.Thread(target=lambda: found.append(builder.build(slow)))
    thread.start()
    eventually((tmp_path / "slow/started").exists)
    _kill_zygote()
    results = [builder.build(job(tmp_path / str(number), GOOD)) for number in range(3)]
    thread.join(20)
    assert [each.outcome for each in (*found, *results)] == [Outcome.DONE] * 4


def _kill_zygote() -> None:
    for pid in _children():
        if b"zygote" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    """Of all our threads: the builder is started by the first that needs it."""
    return [int(pid) for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()]


def _end_sleepers(folder: Path) -> None:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd").startswith(str(folder)):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue
