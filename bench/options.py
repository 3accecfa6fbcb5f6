"""The command line that both benchmarks share, and the surroundings that they need."""

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ours
import peer
from cage import CommandFailed
from results import OURS, PEER, Results, publish
from sides import STATE

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Options:
    rounds: int
    sizes: tuple[int, ...]
    only: frozenset[str]
    sides: tuple[str, ...]
    peer_venv: Path
    json: Path | None
    minutes: float
    began: float = field(default_factory=time.monotonic)

    def wants(self, phase: str) -> bool:
        return not self.only or phase in self.only

    def plan(self) -> Iterator[tuple[int, int]]:
        """(round, size), as long as there is time: every size once in any case, and none that will not end in time."""
        took: dict[int, float] = {}
        for number in range(self.rounds):
            for size in self.sizes:
                began = time.monotonic()
                if number == 0 or began - self.began + took[size] < self.minutes * 60:
                    yield number, size
                    took[size] = time.monotonic() - began

    def order_of_sides(self, number: int) -> tuple[str, ...]:
        """Each side begins every other round."""
        return self.sides if number % 2 == 0 else self.sides[::-1]


def parse(title: str, sizes: Sequence[int], phases: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--rounds", type=int, default=3, help="rounds at each size, time allowing (3)")
    parser.add_argument("--sizes", type=_numbers, default=tuple(sizes), help=f"partitions, e.g. {_words(sizes)}")
    parser.add_argument("--only", type=_names, default=frozenset(), help=f"some of {_words(phases)}")
    parser.add_argument("--side", choices=[PEER, OURS], help="run one side alone (no ratios then)")
    parser.add_argument("--peer-venv", type=Path, default=STATE / "peer", help="environment of slapos.core")
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    parser.add_argument("--minutes", type=float, default=7, help="begin no further round that would end later (7)")
    chosen = parser.parse_args()
    if unknown := chosen.only - set(phases):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; there are {_words(phases)}")
    sides = (chosen.side,) if chosen.side else (PEER, OURS)
    json = chosen.json.absolute() if chosen.json else None
    return Options(
        chosen.rounds, chosen.sizes, chosen.only, sides, chosen.peer_venv.absolute(), json, chosen.minutes
    )


def run(title: str, options: Options, measure: Callable[[Options, Results], None]) -> int:
    """Prepare, measure, and print what there is, even when it was interrupted or went wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results(title)
    try:
        _prepare(options)
        measure(options, results)
    except (CommandFailed, OSError, EOFError, subprocess.CalledProcessError) as error:
        print(f"\n{error}\n\nIts files are left in {STATE}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        results.notes.append("interrupted: not all rounds were made")
        return 130
    finally:
        if results.rows:
            publish(results, options.json)
    return 0


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A fresh folder for one side in one round, removed unless something fails in it. Short: sockets lie in it."""
    path = STATE / "run" / f"{os.getpid()}-{name}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _prepare(options: Options) -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0 or not options.peer_venv.exists():
        _install(options)
    if os.geteuid() == 0:
        _leave_root(options)


def _install(options: Options) -> None:
    if PEER in options.sides:
        peer.install(options.peer_venv)
    if OURS in options.sides:
        ours.check_installed()


def _leave_root(options: Options) -> None:
    """Begin again as an unprivileged user: slapos.core refuses to run partitions of root.

    The user may still read everything (CAP_DAC_READ_SEARCH), because Python itself may lie in root's home.
    """
    user = pwd.getpwnam(UNPRIVILEGED)
    for path in (STATE / "run", *([options.json] if options.json else [])):
        path.mkdir(exist_ok=True) if path.name == "run" else path.touch()
        os.chown(path, user.pw_uid, user.pw_gid)
    for path in (STATE.parent, STATE):
        path.chmod(path.stat().st_mode | 0o055)
    setpriv = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    capabilities = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
    os.execvp("setpriv", [*setpriv, *capabilities, sys.executable, "-B", *sys.argv])


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


def _words(items: Sequence[object]) -> str:
    return ",".join(map(str, items))
