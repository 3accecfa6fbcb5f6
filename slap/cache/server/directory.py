"""Entries under keys: those of all writers, signers, platforms and versions side by side, the newest first."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence

from slap.cache.server.entry_quota import entry_name, find_superseded, id_of, round_robin, writer_of
from slap.cache.server.quota import Quota
from slap.cache.server.statement import StoredEntry, group_of
from slap.cache.server.ttl_cache import RateLimit, TtlCache
from slap.cache.storage.storage import Storage
from slap.model.errors import NotFound, TooMany

_CACHE_BYTES = 32 << 20
_CACHE_SECONDS = 5.0  # seconds: gc in another process is seen that late
_MAX_ENTRIES_PER_MINUTE = 60
_MAX_ANSWER_BYTES = 4 << 20
_LOCKS = 64
_PAGE_DIGITS = 2
_PAGES = 16**_PAGE_DIGITS

Rendered = Callable[[Sequence[str]], bytes]


def render_envelopes(documents: Sequence[str]) -> bytes:
    return b'{"entries":[' + ",".join(documents).encode() + b"]}"


def render_slapos_entries(documents: Sequence[str]) -> bytes:
    """Nothing when there is none, which is then answered as not found."""
    return json.dumps([json.loads(each)["entry"] for each in documents]).encode() if documents else b""


class Directory:
    """The entries of one protocol: `space` is where they are stored, `render` how they are told."""

    def __init__(self, storage: Storage, quota: Quota, space: str, render: Rendered) -> None:
        self._storage = storage
        self._quota = quota
        self._space = space
        self._render = render
        self._rendered_cache = TtlCache(_CACHE_BYTES, _CACHE_SECONDS)
        self._rate_limit = RateLimit(_MAX_ENTRIES_PER_MINUTE, 60)
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]

    async def told(self, key: str) -> bytes:
        """All entries of a key, as they travel."""
        known = self._rendered_cache.get(key)
        if known is None:
            known = self._render(await asyncio.to_thread(self._list_documents, key))
            self._rendered_cache.put(key, known)
        return known

    async def add(self, filed: StoredEntry, writer: str) -> bool:
        """Store an entry of a writer; whether it is new. Raises Conflict, TooMany or StorageFull."""
        async with self._locks[int(filed.key[:8], 16) % _LOCKS]:
            try:
                return await asyncio.to_thread(self._add, filed, writer)
            finally:
                self._rendered_cache.forget(filed.key)

    async def page(self, page: str) -> tuple[list[str], str | None]:
        """Some of all entries, with the name of the next page."""
        for number in range(int(page or "0", 16), _PAGES):
            found = await asyncio.to_thread(self._list_texts, f"{self._space}/{number:0{_PAGE_DIGITS}x}")
            if found:
                return found, f"{number + 1:0{_PAGE_DIGITS}x}" if number + 1 < _PAGES else None
        return [], None

    def _list_names(self, key: str) -> list[str]:
        """The newest first: a name begins with the time."""
        return [each.key for each in self._storage.keys(f"{self._space}/{key}/")][::-1]

    def _list_documents(self, key: str) -> list[str]:
        documents, size = {}, 0
        for name in round_robin(self._list_names(key)):
            document = self._load_text(name)
            size += len(document)
            if size > _MAX_ANSWER_BYTES:
                break
            documents[document] = True  # once, though several stored it
        return [each for each in documents if each]

    def _list_texts(self, prefix: str) -> list[str]:
        texts = (self._load_text(each.key) for each in self._storage.keys(prefix))
        return [text for text in texts if text]

    def _load_text(self, name: str) -> str:
        try:
            return b"".join(self._storage.get(name)).decode()
        except NotFound:  # removed meanwhile
            return ""

    def _add(self, filed: StoredEntry, writer: str) -> bool:
        names = self._list_names(filed.key)
        own = [name for name in names if writer_of(name) == writer]
        # What another one stored may go when that one likes; what came before writers were known stays.
        if any(id_of(name) == filed.id for name in names if writer_of(name) in (writer, "")):
            return False
        if not self._rate_limit.allows(f"{filed.key} {writer}"):
            raise TooMany(
                "Too many entries come for this key.",
                f"It takes {_MAX_ENTRIES_PER_MINUTE} a minute.",
                "Try again in a minute.",
            )
        groups = [(name, group_of(self._space, text)) for name in own if (text := self._load_text(name))]
        going = find_superseded(groups, len(names) - len(own), filed.group)
        self._store(filed, writer)
        for name in going:
            self._storage.delete(name)
        return True

    def _store(self, filed: StoredEntry, writer: str) -> None:
        content = filed.text.encode()
        self._quota.reserve(len(content))
        stored = None
        try:
            name = entry_name(time.time_ns() // 1_000_000, filed.id, writer)
            stored = self._storage.put(f"{self._space}/{filed.key}/{name}", [content])
        finally:
            self._quota.settle(len(content), stored)
