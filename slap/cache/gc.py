"""Which entries and blobs of a cache nobody needs any more: decided purely, then removed one by one."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from pydantic import ValidationError

from slap.cache.archive.pipeline import read_ahead
from slap.cache.server.entry_quota import writer_of
from slap.cache.server.statement import group_of, parse_envelope, parse_statement
from slap.cache.storage.storage import Storage, Stored
from slap.model.cache import Entry, EntryKind
from slap.model.cache.manifest import Manifest
from slap.model.errors import InvalidInput, NotFound

_DAY = 24 * 3600.0
_LARGEST_MANIFEST = 256 << 20
_AT_ONCE = 16  # removals, of a storage that may be far away
_DIGEST = re.compile(r"[0-9a-f]{128}")


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
    needs: tuple[str, ...] = ()  # blobs that it names itself
    manifest: str = ""  # the blob that names the others
    is_part: bool = False  # one that releases share

    @property
    def place(self) -> tuple[str, str, str]:
        """Equal for those of which the newest one counts. Of one writer: another one could claim to be its signer. What
        came before writers were written down is taken for that of many."""
        name = self.stored.key
        return name.split("/")[1], writer_of(name) or name, self.group


@dataclass(frozen=True)
class Survey:
    """All that is stored. What cannot be read may need any blob."""

    entries: Sequence[Indexed]
    blobs: Mapping[str, Stored]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Removal:
    """What goes, and why."""

    stored: Stored
    why: Why


@dataclass(frozen=True)
class Plan:
    """What goes, entries before blobs, and what stays; because of what is `unreadable` all blobs stay."""

    removals: tuple[Removal, ...]
    kept: int
    kept_bytes: int
    unreadable: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(each.stored.size for each in self.removals)


# The blobs that a manifest names; None when it cannot be read.
Chunks = Callable[[str], Iterable[str] | None]


def plan(seen: Survey, chunks: Chunks, rules: Rules, now: float, supplied: frozenset[str] | None = None) -> Plan:
    """What to remove. Entries under a key that is `supplied` stay while they are the newest of their kind, and so do shared
    parts, without which a release is of no use.

    Only manifests of what stays are read, one after the other.
    """
    entries, blobs = seen.entries, seen.blobs
    judged = [(entry, _verdict(entry, is_newest, blobs, rules, now, supplied)) for entry, is_newest in _ranked(entries)]
    reached, unreadable = _reached([entry for entry, why in judged if why is None], chunks)
    unreadable = (*seen.unreadable, *unreadable)
    gone = [Removal(entry.stored, why) for entry, why in judged if why is not None]
    if not unreadable:
        gone += [
            Removal(blob, Why.UNREACHED)
            for digest, blob in blobs.items()
            if now - blob.last_used > rules.grace and _raw(digest) not in reached
        ]
    size = sum(each.stored.size for each in entries) + sum(each.size for each in blobs.values())
    size -= sum(each.stored.size for each in gone)
    return Plan(tuple(gone), len(entries) + len(blobs) - len(gone), size, unreadable)


def _reached(entries: Iterable[Indexed], chunks: Chunks) -> tuple[set[bytes], tuple[str, ...]]:
    """The digests of all blobs that entries need, and the entries of which that cannot be said."""
    reached: set[bytes] = set()
    read = {""}
    unreadable = []
    for entry in entries:
        reached.update(map(_raw, entry.needs))
        if entry.manifest in read:
            continue
        found = chunks(entry.manifest)
        if found is None:
            unreadable.append(entry.stored.key)
        else:
            reached.update(map(_raw, found))
            read.add(entry.manifest)
    return reached, tuple(unreadable)


def _raw(digest: str) -> bytes:
    """In half of the memory."""
    return bytes.fromhex(digest) if _DIGEST.fullmatch(digest) else digest.encode()


def _ranked(entries: Sequence[Indexed]) -> Iterator[tuple[Indexed, bool]]:
    """Each with whether it is the newest of its place: names of entries begin with their time."""
    seen: set[tuple[str, str, str]] = set()
    for entry in sorted(entries, key=lambda each: each.stored.key, reverse=True):
        yield entry, entry.place not in seen
        seen.add(entry.place)


def _verdict(
    entry: Indexed,
    is_newest: bool,
    blobs: Mapping[str, Stored],
    rules: Rules,
    now: float,
    supplied: frozenset[str] | None,
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
    is_wanted = is_newest and supplied is not None and (entry.is_part or bool(entry.keys & supplied))
    return Why.UNUSED if rules.unused is not None and not is_wanted and age > rules.unused else None


def supplied_keys(urls: Iterable[str]) -> frozenset[str]:
    """All names under which a release may be stored: ours, and SlapOS's, which is the MD5 of the URL."""
    return frozenset(
        name for url in urls for name in (url, hashlib.md5(url.encode(), usedforsecurity=False).hexdigest())
    )


def survey(storage: Storage, step: Callable[[], None]) -> Survey:
    """All that is stored; calls `step` for each. Blobs are listed first: what comes meanwhile is younger than any grace."""
    blobs = {}
    for each in storage.keys("blob/"):
        blobs[each.key.partition("/")[2]] = each
        step()
    entries, unreadable = [], []
    for space in ("entry", "dir"):
        for each in storage.keys(f"{space}/"):
            try:
                entries.append(_indexed(storage, space, each))
            except NotFound:  # it was removed meanwhile
                continue
            except (InvalidInput, ValueError, KeyError):
                unreadable.append(each.key)
            step()
    return Survey(entries, blobs, tuple(unreadable))


def chunks_in(storage: Storage, manifest: str) -> Iterable[str] | None:
    """The chunks that a stored manifest names: none when it is not there, None when it cannot be read."""
    content = bytearray()
    try:
        for piece in storage.get(f"blob/{manifest}"):
            content += piece
            if len(content) > _LARGEST_MANIFEST:
                return None
        return (chunk.sha512 for chunk in Manifest.model_validate_json(content).chunks)
    except NotFound:
        return ()
    except ValidationError:
        return None


def remove_all(storage: Storage, removals: Sequence[Removal]) -> Iterator[tuple[Removal, bool]]:
    """Remove several at a time, in order, blobs when all entries are gone; each with whether it went."""
    entries = [each for each in removals if not each.stored.key.startswith("blob/")]
    for some in (entries, removals[len(entries) :]):
        yield from zip(some, read_ahead(some, partial(remove, storage), _AT_ONCE, _AT_ONCE * 4), strict=True)


def remove(storage: Storage, removal: Removal) -> bool:
    """Remove something unless it was used since it was looked at; whether it went."""
    now = next((each for each in storage.keys(removal.stored.key) if each.key == removal.stored.key), None)
    if now is None or now.last_used > removal.stored.last_used:
        return False
    storage.delete(removal.stored.key)
    return True


def _indexed(storage: Storage, space: str, stored: Stored) -> Indexed:
    """What an entry needs. Raises InvalidInput, ValueError or KeyError for one that cannot be read."""
    text = b"".join(storage.get(stored.key)).decode()
    return _native(stored, text) if space == "entry" else _old(stored, text)


def _native(stored: Stored, text: str) -> Indexed:
    statement, group = parse_statement(parse_envelope(text)), group_of("entry", text)
    if not isinstance(statement, Entry):
        return Indexed(stored, group, frozenset(), None, "")
    manifest = statement.manifest.sha512
    needs = (manifest, *(each.sha512 for each in (statement.sbom, statement.provenance) if each))
    is_part = statement.kind is EntryKind.PART
    return Indexed(stored, group, frozenset((statement.key,)), statement.expires_at, manifest, needs, manifest, is_part)


def _old(stored: Stored, text: str) -> Indexed:
    document = json.loads(text)
    about = json.loads(document["entry"][0])
    digest, url = str(about.get("sha512", "")), str(about.get("software_url", ""))
    return Indexed(stored, group_of("dir", text), frozenset((document["key"], url)), None, digest, (digest,))
