"""Messages about caches, for users."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every pass over a node loads this module, and few have anything to do with a cache
    from slap.cache.client.client import FetchResult
    from slap.cache.client.publish import PublishResult
    from slap.cache.trust.keys import PublicKey
    from slap.cache.trust.store import SlaposKey

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size(count: int) -> str:
    """A number of bytes for people: 42 MiB, 3.1 GiB, 512 B."""
    for unit, name in _UNITS:
        if count >= unit:
            number = count / unit
            return f"{number:.1f} {name}" if number < 10 else f"{number:.0f} {name}"
    return f"{count} B"


def key_name(key: "PublicKey | SlaposKey") -> str:
    """A key for people: its owner's name for it and the beginning of its id."""
    return f"{key.comment} ({key.id[:16]})" if key.comment else key.id[:16]


def taken(key: "PublicKey | SlaposKey", fetched: "FetchResult") -> str:
    here = f", {size(fetched.reused)} were here" if fetched.reused else ""
    return f"from cache, signed by {key_name(key)}, {size(fetched.fetched)} in {fetched.seconds:.1f} s{here}"


def left(published: "PublishResult", took: str = "") -> str:
    """The message after an upload: how many bytes were sent, of how many."""
    time = f" in {took}" if took else ""
    if published.sent == published.size:
        return f"Uploaded {size(published.sent)}{time}."
    return f"Uploaded {size(published.sent)} of {size(published.size)}{time}; the rest was there."


def not_taken(reasons: Iterable[str]) -> str:
    """Why a release was built from source; empty when no cache claimed to have it."""
    words = list(dict.fromkeys(reason.strip().rstrip(".") for reason in reasons if reason))
    return f"built from source: {'; '.join(words)}" if words else ""


def progress(done: int, total: int) -> str:
    return f"from cache: {size(done)} of {size(total)}" if total else f"from cache: {size(done)}"
