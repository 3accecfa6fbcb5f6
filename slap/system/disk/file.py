"""Disks of machines as files: made, empty or on top of an image, and made larger."""

from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import CommandFailed, InvalidInput
from slap.system import environment
from slap.system.process import Command, Runner

_PATIENCE = 120.0


@dataclass(frozen=True)
class Backing:
    """What a new disk begins as. It is only read, and has to stay where it is for as long as the disk lives."""

    path: Path
    format: str


def create_disk(runner: Runner, path: Path, kind: str, size: int, backing: Backing | None = None) -> None:
    """A disk of so many bytes; 0: as its backing file."""
    below = ("-b", str(backing.path), "-F", backing.format) if backing else ()
    _run(runner, "create", "-q", "-f", kind, *below, "--", str(path), *([str(size)] if size else []))


def grow_disk(runner: Runner, path: Path, kind: str, size: int) -> None:
    """Of a machine that does not run."""
    _run(runner, "resize", "-q", "-f", kind, "--", str(path), str(size))


def must_grow(name: str, size: int, wanted: int) -> bool:
    """Whether a disk has to grow for what is wanted; 0 is whatever it has.

    Raises InvalidInput for less than it has: what the guest keeps beyond would be cut off.
    """
    if 0 < wanted < size:
        raise InvalidInput(
            f"Disk {name} cannot become smaller.",
            f"It has {size} bytes, and {wanted} are wanted.",
            "Order the size that it had, or more.",
        )
    return wanted > size


def _run(runner: Runner, *words: str) -> None:
    argv = (environment.program("qemu-img", "qemu-utils"), *words)
    done = runner.run(Command(argv, env={"PATH": environment.CLEAN_PATH}, timeout=_PATIENCE, longest=1 << 16))
    if done.status != 0:
        said = done.stderr.strip().splitlines()
        raise CommandFailed("A disk cannot be made.", said[-1] if said else "", "Look at the free space of its disk.")
