"""What is signed in caches, as people are shown it in a list."""

from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.envelope import decode_payload
from slap.cache.trust.errors import RejectedStatement
from slap.cache.trust.platform import this_platform
from slap.cache.trust.verify import verify
from slap.cli.formats import Cell
from slap.cli.output import Style, age, short_release
from slap.model.cache import ENTRY_TYPE, Entry, EntryKind, Platform, SignedEntry
from slap.node.cache.messages import size
from slap.node.cache.tools import CacheTools
from slap.node.image.cache import cache_key_of
from slap.system.clock import Clock

COLUMNS = ("release", "kind", "platform", "size", "signed", "expires", "key", "taken")


def entry_row(signed: SignedEntry, tools: CacheTools) -> tuple[Any, ...] | None:
    """In the columns COLUMNS; None for what is no statement about a build."""
    try:
        entry = Entry.model_validate_json(decode_payload(signed, ENTRY_TYPE))
    except (RejectedStatement, ValidationError):  # what a key says of itself, or nonsense
        return None
    taken = _taken(signed, entry, tools)
    signer = signed.signatures[0].keyid if signed.signatures else ""
    return (
        Cell(entry.key, short=_short_key(entry)), entry.kind.value,
        Cell(str(entry.platform), short=_difference(entry.platform)), Cell(entry.size, size(entry.size)),
        _moment(entry.version, tools.clock), _moment(entry.expires_at, tools.clock),
        Cell(signer, signer[:16], short=signer[:8]), taken,
    )  # fmt: skip


def _short_key(entry: Entry) -> str:
    """What people recognise a release, a part or an image by."""
    if entry.kind is EntryKind.PART:
        name, _, digest = entry.key.partition("/")
        return f"{name}/{digest[:8]}"
    return short_release(entry.key.removeprefix("image:"))


def _difference(platform: Platform) -> str:
    """By what other machines differ from this one."""
    here = this_platform().pieces
    return ", ".join(each for each, own in zip(platform.pieces, here, strict=True) if each and each != own) or "as here"


def _moment(seconds: int, clock: Clock) -> Cell:
    at, now = datetime.fromtimestamp(seconds, UTC), clock.now()
    return Cell(at.isoformat(), minute(seconds), short=age(now, at) if at > now else age(at, now))


def _taken(signed: SignedEntry, entry: Entry, tools: CacheTools) -> Cell:
    """Whether it would be taken here as the answer to the question that it is an answer to."""
    try:
        verify(signed, tools.trust, _question(entry, tools))
    except RejectedStatement as refused:
        return Cell(refused.reason.value, refused.reason.value, Style.BAD)
    return Cell("yes", "yes", Style.GOOD)


def _question(entry: Entry, tools: CacheTools) -> CacheKey:
    if entry.kind is EntryKind.IMAGE:
        return cache_key_of(entry.key.removeprefix("image:"), tools.now)
    if entry.kind is EntryKind.PART:
        name, _, digest = entry.key.rpartition("/")
        return tools.part_question(name, digest)
    return tools.cache_key(entry.key)


def minute(seconds: int) -> str:
    """A moment, as far as anybody wants to know it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
