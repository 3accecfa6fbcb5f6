"""Check what a user without root needs to make a system with files of many owners: user namespaces."""

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import CommandFailed, InvalidInput, NotFound
from slap.system import environment, files
from slap.system.process import Command, Runner

_IDS = 65536  # as many as Debian's own users and groups are numbered by
_FIRST = 100_000  # useradd begins to give them here


@dataclass(frozen=True)
class Builder:
    """The building user, the files of subordinate ids, and the program that maps them."""

    name: str
    number: int
    etc: Path
    newuidmap: str


def this_builder() -> Builder:
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Builder(name, number, Path("/etc"), environment.find_program("newuidmap"))


def check_namespaces(runner: Runner, builder: Builder | None = None) -> None:
    """Raises SlapError, which says what is missing and what root types for it."""
    who = builder or this_builder()
    if not who.newuidmap:
        raise NotFound(
            "This image cannot be built without root here: the computer has no newuidmap.",
            "It belongs to Debian's package uidmap.",
            "Type `apt-get install uidmap` as root, or build the image as root.",
        )
    _check_ids(who)
    argv = ("unshare", "--map-root-user", "--map-auto", "--", "true")
    tried = runner.run(Command(argv, env={"PATH": environment.CLEAN_PATH}, timeout=10))
    if tried.status != 0:
        raise CommandFailed(
            "This image cannot be built without root here: the kernel grants no user namespace.",
            tried.stderr.strip(),
            "Type `sysctl kernel.unprivileged_userns_clone=1` as root, or build the image as root.",
        )


def _check_ids(who: Builder) -> None:
    lists = [list(_ranges(files.read_or(who.etc / name, ""))) for name in ("subuid", "subgid")]
    if all(any(owner in (who.name, str(who.number)) and count >= _IDS for owner, _, count in each) for each in lists):
        return
    first = max([_FIRST, *(start + count for each in lists for _, start, count in each)])
    ids = f"{first}-{first + _IDS - 1}"
    raise InvalidInput(
        f"This image cannot be built without root here: {who.name} has no ids of others.",
        f"The image has files of many owners; {_IDS} ids are needed in {who.etc}/subuid and subgid.",
        f"Type `usermod --add-subuids {ids} --add-subgids {ids} {who.name}` as root, or build the image as root.",
    )


def _ranges(text: str) -> Iterable[tuple[str, int, int]]:
    """Owner, first id and count of each valid line."""
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
            yield words[0], int(words[1]), int(words[2])
