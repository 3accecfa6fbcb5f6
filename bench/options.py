"""The command line that both benchmarks share, and the rounds that follow from it."""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from results import OURS, PEER
from sides import STATE


@dataclass(frozen=True)
class Options:
    rounds: int
    sizes: tuple[int, ...]
    only: frozenset[str]
    sides: tuple[str, ...]
    peer_venv: Path
    json: Path | None
    markdown: Path | None
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


@dataclass(frozen=True)
class Defaults:
    """What a benchmark does when nothing else is said."""

    sizes: Sequence[int]
    phases: Sequence[str]
    minutes: float


def parse(title: str, defaults: Defaults) -> Options:
    parser = argparse.ArgumentParser(description=title)
    sizes, phases = _words(defaults.sizes), _words(defaults.phases)
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="rounds at each size, time allowing (3)")
    add("--sizes", type=_numbers, default=tuple(defaults.sizes), help=f"numbers of partitions ({sizes})")
    add("--only", type=_names, default=frozenset(), help=f"some of {phases}")
    add("--side", choices=[PEER, OURS], help="one side alone (there are no ratios then)")
    add(
        "--minutes", type=float, default=defaults.minutes, help=f"begin no round that ends later ({defaults.minutes:g})"
    )
    add("--peer-venv", type=_path, default=STATE / "peer", help="environment of slapos.core (made when it is missing)")
    add("--json", type=_path, help="write all samples to this file")
    add("--markdown", type=_path, help="put the table into this document, between the marks of this benchmark")
    chosen = vars(parser.parse_args())
    if unknown := chosen["only"] - set(defaults.phases):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; there are {phases}")
    side = chosen.pop("side")
    return Options(sides=(side,) if side else (PEER, OURS), **chosen)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


def _words(items: Sequence[object]) -> str:
    return ",".join(map(str, items))


def _path(text: str) -> Path:
    return Path(text).absolute()
