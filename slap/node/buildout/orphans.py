"""Children that a partition no longer requests: destroyed after a complete run.

The recipes note each child before they order it. What runs that failed or were killed noted stays noted, so that no child is
forgotten; an empty line parts the run under way from those before it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from slap.client.master import Master
from slap.model.errors import Conflict, NotFound, SlapError
from slap.model.instance import InstanceRequest
from slap.model.node import REQUESTED_FILE, Requested
from slap.model.state import InstanceState
from slap.node.buildout.installed import ordered_by_others
from slap.system import files

# Bytes: each run notes all children again, and once in a while what is noted many times is noted once.
_LARGEST = 65536


def begin(folder: Path) -> None:
    """Start a new run: requests recorded from now on belong to it."""
    text = files.read_or(folder / REQUESTED_FILE, "")
    if len(text) > _LARGEST:
        _write(folder, _parse(text).values(), [])
    elif text:
        with (folder / REQUESTED_FILE).open("a") as file:
            file.write("\n")


def collect(folder: Path, master: Callable[[], Master]) -> list[str]:
    """After a complete run, destroy what only earlier runs requested; returns the names.

    What the master does not take now stays noted, and is tried again after the next run.
    """
    text = files.read_or(folder / REQUESTED_FILE, "")
    now = _parse(text.rpartition("\n\n")[2])
    orphans = [each for name, each in _parse(text).items() if name not in now]
    others = ordered_by_others(folder) if orphans else frozenset()
    doomed = [each for each in orphans if not each.keep and each.reference not in others]
    gone = [each for each in doomed if _destroy(master(), each)]
    if orphans:
        _write(folder, [each for each in doomed if each not in gone], now.values())
    return [each.reference for each in gone]


def _destroy(master: Master, orphan: Requested) -> bool:
    """Destroy a child; returns whether the master accepted it."""
    print(f"{orphan.reference} is not requested any more: it is destroyed.", flush=True)
    order = InstanceRequest(
        reference=orphan.reference,
        software_release=orphan.software_release,
        software_type=orphan.software_type,
        shared=orphan.shared,
        state=InstanceState.DESTROYED,
    )
    try:
        master.request(order)
    except (NotFound, Conflict):
        return True  # gone, called otherwise, or about to go
    except SlapError as error:
        print(f"Not now: {error.brief}", flush=True)
        return False
    return True


def _parse(text: str) -> dict[str, Requested]:
    found = (_line(line) for line in text.splitlines() if line)
    return {each.reference: each for each in found if each}


def _line(line: str) -> Requested | None:
    try:
        return Requested.model_validate_json(line)
    except ValidationError:  # cut off by a power cut: what nobody knows of is left alone
        return None


def _write(folder: Path, earlier: Iterable[Requested], now: Iterable[Requested]) -> None:
    parts = ("".join(f"{each.model_dump_json()}\n" for each in some) for some in (earlier, now))
    files.write(folder / REQUESTED_FILE, "\n".join(parts), 0o600)
