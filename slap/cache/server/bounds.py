"""How many entries one key holds. Pure."""

from collections.abc import Sequence

from slap.model.errors import Conflict

OF_GROUP = 4
OF_KEY = 256


def superseded(groups: Sequence[tuple[str, str]], new: str) -> list[str]:
    """Of the entries of a key, given as (name, group) with the newest first, those that go when one of the group `new` comes.

    Raises Conflict for a key that is full of others: nobody pushes out what somebody else stored.
    """
    same = [name for name, group in groups if group == new]
    going = same[OF_GROUP - 1 :]
    if len(groups) - len(going) >= OF_KEY:
        raise Conflict(
            "There are too many entries under this key.",
            f"It holds {OF_KEY}, of whatever signers and platforms.",
            "Who runs the cache removes what nobody uses: slapos cache gc",
        )
    return going
