"""Names of stored entries, and how many entries a key, a writer and a group may have. No I/O.

Their names are SPACE/KEY/TIME-ID-WRITER. What an entry says of its signer proves nothing; who stored it is known.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

from slap.model.errors import Conflict

OF_GROUP = 4
OF_WRITER = 128
OF_KEY = 1024
_DIGITS = 16


def writer_id(kind: str, name: str) -> str:
    """How a writer is written in names: the same for the same token, certificate or user."""
    return hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:_DIGITS]


def entry_name(milliseconds: int, digest: str, writer: str) -> str:
    """Names are in the order of their times."""
    return f"{milliseconds:015}-{digest}-{writer}"


def writer_of(name: str) -> str:
    """Who stored it; empty for what came before that was written down."""
    return name.rpartition("/")[2].partition("-")[2].partition("-")[2]


def id_of(name: str) -> str:
    return name.rpartition("/")[2].partition("-")[2].partition("-")[0]


def round_robin(names: Sequence[str]) -> list[str]:
    """Names, given with the newest first, in an order in which nobody's entries hide those of another: the newest of each
    writer, then the one before it of each, and so on."""
    counts: Counter[str] = Counter()
    ranks = {}
    for name in names:
        counts[writer_of(name)] += 1
        ranks[name] = counts[writer_of(name)]
    return sorted(names, key=ranks.__getitem__)


def find_superseded(own: Sequence[tuple[str, str]], others: int, new: str) -> list[str]:
    """Of the writer's own entries of a key, given as (name, group) with the newest first, those that go when one of the group
    `new` comes.

    What the `others` stored is never among them: whoever may write can claim any signer. Raises Conflict where there is no
    room.
    """
    going = [name for name, group in own if group == new][OF_GROUP - 1 :]
    left = len(own) - len(going)
    if left >= OF_WRITER or left + others >= OF_KEY:
        raise Conflict(
            "There are too many entries under this key.",
            f"It holds {OF_WRITER} of one writer, of whatever signers and platforms, and {OF_KEY} in all.",
            "Who runs the cache removes what nobody uses: slapos cache gc",
        )
    return going
