"""ext4 in a file, filled from a folder, without being root and without mounting anything."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slap.system import environment
from slap.system.process import Command, Runner

# Of 4 KiB each: a boot loader reads block by block, and small disks would have blocks of 1 KiB.
_BLOCKS = ("-b", "4096")
# The same content makes the same bytes: what is random or now elsewhere is this.
_UUID = "5ab1e000-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Ext4:
    """A file system: where in the file it begins, how large it is, its label, and the age of all that is in it."""

    offset: int
    size: int
    label: str
    time: int = 0  # none: as old as everything is


def fill_ext4(form: Ext4, folder: Path, image: Path) -> tuple[str, ...]:
    """What puts a folder's content into an image, where all of it belongs to whom it belongs to here."""
    options = f"offset={form.offset},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"
    return (
        environment.program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", *_BLOCKS, "-m", "1", "-L", form.label,
        "-E", options, "-d", str(folder), str(image), f"{form.size >> 10}k",
    )  # fmt: skip


def make_ext4(form: Ext4, folder: Path, image: Path, runner: Runner) -> None:
    """Put a folder's content into an image; all of it belongs to root there, whoever it belongs to here."""
    env = {"PATH": environment.CLEAN_PATH, "E2FSPROGS_FAKE_TIME": str(form.time)}
    options = f"offset={form.offset},hash_seed={_UUID},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"
    argv = (
        environment.program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", *_BLOCKS, "-m", "0", "-J", "size=4",
        "-L", form.label, "-U", _UUID, "-E", options, "-d", str(folder), str(image), f"{form.size >> 10}k",
    )  # fmt: skip
    runner.run(Command(argv, env=env, timeout=600)).check()
    disk = f"{image}?offset={form.offset}"
    script = "".join(f"{line}\n" for line in _ownership(folder, form.time))
    words = (environment.program("debugfs", "e2fsprogs"), "-w", "-f", "/dev/stdin", disk)
    runner.run(Command(words, env=env, stdin=script, timeout=600)).check()


def _ownership(folder: Path, time: int) -> Iterator[str]:
    """debugfs's commands that make all of it root's, and as old as it shall be."""
    paths = [os.path.join(place, name) for place, folders, names in os.walk(folder) for name in (*folders, *names)]
    for path in sorted(paths):
        inside = os.path.relpath(path, folder)
        for field, value in (("uid", "0"), ("gid", "0"), ("ctime", f"@{time}"), ("atime", f"@{time}")):
            yield f'sif "/{inside}" {field} {value}'
