"""Which entries and blobs of a cache nobody needs any more: decided purely, then removed one by one."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from slap.cache.server.statement import group_of, parsed_envelope, statement_of
from slap.cache.storage.storage import Storage, Stored
from slap.model.cache import Entry
from slap.model.cache.manifest import Manifest
from slap.model.errors import InvalidInput, NotFound

_DAY = 24 * 3600.0
_LARGEST_MANIFEST = 256 << 20


class Why(StrEnum):
    """Why something goes."""

    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    UNUSED = "unused"
    BROKEN = "its blob is gone"
    UNREACHED = "no entry needs it"


@dataclass(frozen=True)
class Rules:
    """Ages in seconds. `unused` is for what still counts: nothing of that goes by age where it is None."""

    superseded: float = 7 * _DAY  # unused for that long, after a newer one came
    unused: float | None = None
    grace: float = 2 * _DAY  # blobs without an entry: uploads begin with them


@dataclass(frozen=True)
class Indexed:
    """An entry as far as garbage goes. `keys` are all names under which somebody may ask for it."""

    stored: Stored
    group: str
    keys: frozenset[str]
    expires_at: float | None
    blob: str  # by whose last use it is judged; empty for what a key says of itself, which stays
    reaches: frozenset[str]


@dataclass(frozen=True)
class Removal:
    """What goes, and why."""

    stored: Stored
    why: Why


@dataclass(frozen=True)
class Plan:
    """What goes, entries before blobs, and what stays."""

    removals: tuple[Removal, ...]
    kept: int
    kept_bytes: int

    @property
    def bytes(self) -> int:
        return sum(each.stored.size for each in self.removals)


def plan(
    entries: Sequence[Indexed],
    blobs: Mapping[str, Stored],
    rules: Rules,
    now: float,
    supplied: frozenset[str] = frozenset(),
) -> Plan:
    """What to remove. Entries under a key that is `supplied` stay while they are the newest of their kind."""
    judged = [(entry, _verdict(entry, is_newest, blobs, rules, now, supplied)) for entry, is_newest in _ranked(entries)]
    staying = [entry for entry, why in judged if why is None]
    reached = frozenset().union(*(entry.reaches for entry in staying))
    gone = [Removal(entry.stored, why) for entry, why in judged if why is not None]
    gone += [
        Removal(blob, Why.UNREACHED)
        for digest, blob in blobs.items()
        if digest not in reached and now - blob.last_used > rules.grace
    ]
    size = sum(each.stored.size for each in entries) + sum(each.size for each in blobs.values())
    return Plan(tuple(gone), len(entries) + len(blobs) - len(gone), size - sum(each.stored.size for each in gone))


def _ranked(entries: Sequence[Indexed]) -> Iterator[tuple[Indexed, bool]]:
    """Each with whether it is the newest of its group: names of entries begin with their time."""
    seen: set[tuple[str, str]] = set()
    for entry in sorted(entries, key=lambda each: each.stored.key, reverse=True):
        place = (entry.stored.key.split("/")[1], entry.group)
        yield entry, place not in seen
        seen.add(place)


def _verdict(
    entry: Indexed, is_newest: bool, blobs: Mapping[str, Stored], rules: Rules, now: float, supplied: frozenset[str]
) -> Why | None:
    if not entry.blob:
        return None if is_newest else Why.SUPERSEDED
    blob = blobs.get(entry.blob)
    age = now - max(entry.stored.last_used, blob.last_used if blob else 0.0)
    if blob is None:  # it may be on its way
        return Why.BROKEN if age > rules.grace else None
    if entry.expires_at is not None and entry.expires_at < now:
        return Why.EXPIRED
    if not is_newest and age > rules.superseded:
        return Why.SUPERSEDED
    is_wanted = is_newest and bool(entry.keys & supplied)
    return Why.UNUSED if rules.unused is not None and not is_wanted and age > rules.unused else None


def supplied_keys(urls: Iterable[str]) -> frozenset[str]:
    """All names under which a release may be stored: ours, and SlapOS's, which is the MD5 of the URL."""
    return frozenset(
        name for url in urls for name in (url, hashlib.md5(url.encode(), usedforsecurity=False).hexdigest())
    )


def survey(storage: Storage, step: Callable[[], None]) -> tuple[list[Indexed], dict[str, Stored]]:
    """All that is stored; calls `step` for each. Blobs are listed first: what comes meanwhile is younger than any grace."""
    blobs = {}
    for each in storage.keys("blob/"):
        blobs[each.key.partition("/")[2]] = each
        step()
    entries = []
    for space in ("entry", "dir"):
        for each in storage.keys(f"{space}/"):
            entries += _indexed(storage, space, each)
            step()
    return entries, blobs


def remove(storage: Storage, removal: Removal) -> bool:
    """Remove something unless it was used since it was looked at; whether it went."""
    now = next((each for each in storage.keys(removal.stored.key) if each.key == removal.stored.key), None)
    if now is None or now.last_used > removal.stored.last_used:
        return False
    storage.delete(removal.stored.key)
    return True


def _indexed(storage: Storage, space: str, stored: Stored) -> list[Indexed]:
    """What an entry needs. One that cannot be read is not judged, and stays."""
    try:
        text = b"".join(storage.get(stored.key)).decode()
        return [_native(storage, stored, text) if space == "entry" else _old(stored, text)]
    except (InvalidInput, NotFound, UnicodeDecodeError, ValueError, KeyError):
        return []


def _native(storage: Storage, stored: Stored, text: str) -> Indexed:
    statement, group = statement_of(parsed_envelope(text)), group_of("entry", text)
    if not isinstance(statement, Entry):
        return Indexed(stored, group, frozenset(), None, "", frozenset())
    manifest = statement.manifest.sha512
    beside = [each.sha512 for each in (statement.sbom, statement.provenance) if each]
    reaches = frozenset((manifest, *beside, *_chunks(storage, manifest)))
    return Indexed(stored, group, frozenset((statement.key,)), statement.expires_at, manifest, reaches)


def _old(stored: Stored, text: str) -> Indexed:
    document = json.loads(text)
    about = json.loads(document["entry"][0])
    digest, url = str(about.get("sha512", "")), str(about.get("software_url", ""))
    return Indexed(stored, group_of("dir", text), frozenset((document["key"], url)), None, digest, frozenset((digest,)))


def _chunks(storage: Storage, digest: str) -> list[str]:
    """The chunks that a manifest names."""
    key = f"blob/{digest}"
    size = next((each.size for each in storage.keys(key)), 0)
    if not 0 < size <= _LARGEST_MANIFEST:
        return []
    try:
        return [chunk.sha512 for chunk in Manifest.model_validate_json(b"".join(storage.get(key))).chunks]
    except (ValidationError, NotFound):
        return []
