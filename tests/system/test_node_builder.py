"""The warm builder, real: builds side by side, and none of them can harm it or another, whatever its recipes do."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slap.node.buildout.builder import WarmBuilder
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
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
# What a child has open: its log, and the file of its answer. It finds that and abuses it.
_FORGE = "os.pwrite(3, b'{}', 0)\nos._exit(0)"
# Like the answer of an instantiation, with something in it that says more than it should.
_INSTALLED = '{{"id": 0, "outcome": "done", "installed": {{"services": {}}}}}'


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('no such luck')", "no such luck"),
        ("os._exit(7)", "status 7"),
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("sys.exit(3)", ""),
        (_FORGE.format("{nonsense"), "is refused"),
        (_FORGE.format('{"id": 2, "outcome": "done"}'), None),
        (_FORGE.format(_INSTALLED.format('{"a b": ""}')), "installed.services.a b"),
        (_FORGE.format(_INSTALLED.format('{"a": "1\\\\n[program:x]"}')), "installed.services.a"),
        (_FORGE.format('{"id": 1, "outcome": "done", "extra": 1}'), "extra"),
        (_FORGE.format("[" * 100_000), "is refused"),
        ("os.write(3, b'x')", "is refused"),
        ("os.close(3)", "status 0"),
        ("try:\n    while True: os.write(3, b'x' * 65536)\nexcept OSError: os._exit(0)", "is refused"),
        ("while True: os.truncate(3, 1 << 40)", "not permitted"),
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


def test_a_build_has_no_descriptors_but_those_of_its_log_and_its_answer(builder: WarmBuilder, tmp_path: Path) -> None:
    """Two others are under way when it is forked. What it starts has not even that of its answer."""
    look = (
        "' '.join(f'{n}={os.readlink(f\"/proc/self/fd/{n}\")}' for n in sorted(map(int, os.listdir('/proc/self/fd')))"
    )
    code = f"open('own', 'w').write({look} if os.path.exists(f'/proc/self/fd/{{n}}')))\n"
    code += "subprocess.run(['ls', '/proc/self/fd'], stdout=open('theirs', 'w'), close_fds=False)\n" + GOOD
    slow = [job(tmp_path / f"slow{number}", f"time.sleep(1)\n{GOOD}") for number in range(2)]
    threads = [threading.Thread(target=builder.build, args=(each,)) for each in slow]
    for thread in threads:
        thread.start()
    eventually(lambda: all((tmp_path / f"slow{number}/log").exists() for number in range(2)))
    assert builder.build(job(tmp_path / "a", code)).outcome is Outcome.DONE
    for thread in threads:
        thread.join()
    own = dict(each.split("=", 1) for each in (tmp_path / "a/own").read_text().split(" ") if "=" in each)
    log = str(tmp_path / "a/log")
    assert (own.pop("0"), own.pop("1"), own.pop("2")) == ("/dev/null", log, log)
    assert own.pop("3").startswith("/memfd:answer")
    assert [each for each in own.values() if not each.startswith((str(tmp_path / "a"), "/proc/"))] == []
    assert (tmp_path / "a/theirs").read_text().split() == ["0", "1", "2", "3"]  # the last is of its own look


def test_a_builds_memory_has_nothing_of_what_others_were_told(builder: WarmBuilder, tmp_path: Path) -> None:
    """Neither what the job before was, nor what it answered, nor the variables that builds of releases alone get."""
    secret, answer = "jobs-" + "secret-1", "answers-" + "secret-2"
    before = job(tmp_path / "before", f"raise ValueError('answers-' + 'secret-2')\n{GOOD}")
    before = before.model_copy(update={"environment": {"TOKEN": secret}})
    assert answer in builder.build(before).message
    code = """
import re
found, needle = [], re.compile(b'(jobs|answers)-secre[t]-[1-2]')
for line in open('/proc/self/maps'):
    span, rights = line.split()[:2]
    if rights.startswith('rw') and '[v' not in line:
        first, last = (int(each, 16) for each in span.split('-'))
        with open('/proc/self/mem', 'rb', 0) as memory:
            memory.seek(first)
            found += needle.findall(memory.read(last - first))
open('found', 'w').write(str(len(found)))
"""
    code += GOOD
    assert builder.build(job(tmp_path / "a", code)).outcome is Outcome.DONE
    assert (tmp_path / "a/found").read_text() == "0"


def test_each_build_is_a_fork_of_one_process(builder: WarmBuilder, tmp_path: Path) -> None:
    """Which has loaded Python and buildout: most of what a build costs otherwise."""
    families = set()
    for number in range(3):
        code = f"open('family', 'w').write(f'{{os.getppid()}} {{open(\"/proc/self/cmdline\").read()}}')\n{GOOD}"
        assert builder.build(job(tmp_path / str(number), code)).outcome is Outcome.DONE
        families.add((tmp_path / str(number) / "family").read_text())
    ((parent, _, words),) = (each.partition(" ") for each in families)
    assert words == Path(f"/proc/{parent}/cmdline").read_text()
    assert "fork_server" in words
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
    _kill_fork_server()
    results = [builder.build(job(tmp_path / str(number), GOOD)) for number in range(3)]
    thread.join(20)
    assert [each.outcome for each in (*found, *results)] == [Outcome.DONE] * 4


def _kill_fork_server() -> None:
    for pid in _children():
        if b"fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes():
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
