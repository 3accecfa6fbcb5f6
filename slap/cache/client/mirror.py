"""One cache, asked over one connection: signed entries, blobs, and whether it has them."""

import hashlib
from collections.abc import Callable, Mapping
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

from slap.cache.client.batch import Batch
from slap.cache.client.settings import Cache
from slap.cache.trust.envelope import read_envelope
from slap.cache.trust.refused import Refused
from slap.model.base import Frozen
from slap.model.cache import LARGEST_ENVELOPE, Sha512, SignedEntry
from slap.model.errors import ErrorDocument, Unreachable
from slap.system.network.http_connection import Answer, Ask, Line
from slap.system.transport import Tls

# Entries under one key that are looked at. A cache that has more of them lets anybody write, and is no help.
_MOST_ENTRIES = 256
_LARGEST_ANSWER = _MOST_ENTRIES * LARGEST_ENVELOPE
_TIMEOUT = 30.0  # of single operations of the network; who waits cuts the line long before
_MISSING = 404
# What helps, by status, in our own words: those of a cache are not for people to follow.
_NEXT: Mapping[int, str] = {
    401: "Who runs the cache makes a token there, by slapos cache token NAME: put it into the node's etc/cache.token.",
    507: "Who runs the cache makes room there, by slapos cache gc, or raises its `quota`.",
}
_WORDS = 300  # characters of what a cache says of itself
_FORMER = TypeAdapter(list[tuple[str, str]])


class _Page(Frozen):
    entries: tuple[SignedEntry, ...] = Field(max_length=1000)
    next: str | None = None


class _Answered(Frozen):
    """Entries as they come: each is read by itself, so that a broken one takes no other with it."""

    entries: tuple[object, ...] = Field(max_length=_MOST_ENTRIES * 4)


class Mirror:
    """For one thread; another one may cut its line."""

    def __init__(self, cache: Cache, tls: Tls, token: str = "", timeout: float = _TIMEOUT) -> None:
        self.cache = cache
        self.line = Line(tls, timeout)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._has_batches = bool(
            cache.own
        )  # until it is found out: a web server with files, or an older cache, has none

    def entries(self, key: str) -> tuple[SignedEntry, ...]:
        """What is signed under a key, whoever signed it; nothing from a cache that speaks SlapOS's protocol alone."""
        if not self.cache.own:
            return ()
        digest = hashlib.sha256(key.encode()).hexdigest()
        answer = self._ask(Ask("GET", f"{self._own}/entries/{digest}", None, _LARGEST_ANSWER))
        if answer.status == _MISSING:
            return ()
        try:
            found = _Answered.model_validate_json(_good(answer).body).entries[:_MOST_ENTRIES]
        except ValidationError as error:
            raise _nonsense(self.cache) from error
        return tuple(entry for each in found if (entry := _readable(each)))

    def all_entries(self, page: str = "") -> tuple[tuple[SignedEntry, ...], str]:
        """A page of all entries, and the name of the next page, empty after the last one."""
        query = f"?page={quote(page, safe='')}" if page else ""
        answer = _good(self._ask(Ask("GET", f"{self._own}/entries{query}", None, 64 << 20)))
        try:
            found = _Page.model_validate_json(answer.body)
        except ValidationError as error:
            raise _nonsense(self.cache) from error
        return found.entries, found.next or ""

    def former_entries(self, key: str) -> tuple[tuple[str, str], ...]:
        """[JSON, signature] of SlapOS's protocol under a key."""
        answer = self._ask(Ask("GET", f"{self.cache.directory}/{quote(key, safe=':=')}", None, _LARGEST_ANSWER))
        if answer.status == _MISSING:
            return ()
        try:
            return tuple(_FORMER.validate_json(_good(answer).body))[:_MOST_ENTRIES]
        except ValidationError as error:
            raise _nonsense(self.cache) from error

    def bring(self, batch: Batch, take: Callable[[bytes], None]) -> None:
        """Give the bytes of blobs to `take`, which gives them to the batch, as they come, one blob after the other.

        Nothing is known of them before their digests were looked at. Those that it has not are `absent` from the batch.
        """
        if len(batch.missing) == 1 or not self._has_batches:
            self._bring_each(batch, take)
        elif not self._bring_together(batch, take):
            self._bring_each(batch, take)
            self._has_batches = bool(batch.absent)  # which is why; else it has all of them, and knows no such request

    def _bring_together(self, batch: Batch, take: Callable[[bytes], None]) -> bool:
        names, limit = ",".join(each.sha512 for each in batch.missing), sum(each.size for each in batch.missing)
        answer = self.line.ask(Ask("GET", f"{self._own}/blobs?sha512={names}", None, limit, self._headers), take)
        return answer.status // 100 == 2

    def _bring_each(self, batch: Batch, take: Callable[[bytes], None]) -> None:
        for wanted in tuple(batch.missing):
            answer = self.line.ask(Ask("GET", self._blob_url(wanted.sha512), None, wanted.size, self._headers), take)
            if answer.status == _MISSING:
                batch.skip()
            else:
                _good(answer)

    def former_blob(self, sha512: Sha512, limit: int, take: Callable[[bytes], None]) -> None:
        """The same by SlapOS's protocol."""
        _good(self.line.ask(Ask("GET", f"{self.cache.blobs}/{sha512}", None, limit, self._headers), take))

    def has(self, sha512: Sha512) -> bool:
        status = self._ask(Ask("HEAD", self._blob_url(sha512))).status
        if status not in (200, _MISSING):
            raise Unreachable(f"It answers {status}.")
        return status == 200

    def put_blob(self, sha512: Sha512, content: bytes) -> None:
        _good(self._ask(Ask("PUT", self._blob_url(sha512), content)))

    def put_entry(self, key: str, signed: SignedEntry) -> None:
        digest = hashlib.sha256(key.encode()).hexdigest()
        body = signed.model_dump_json(by_alias=True).encode()
        _good(self._ask(Ask("PUT", f"{self._own}/entries/{digest}", body)))

    @property
    def _own(self) -> str:
        return f"{self.cache.own}/api/v1"

    def _blob_url(self, sha512: Sha512) -> str:
        return f"{self._own}/blobs/{sha512}" if self.cache.own else f"{self.cache.blobs}/{sha512}"

    def _ask(self, ask: Ask) -> Answer:
        headers: Mapping[str, str] = {"Content-Type": "application/octet-stream"} if ask.body is not None else {}
        return self.line.ask(Ask(ask.method, ask.url, ask.body, ask.limit, {**headers, **self._headers}))


def _readable(document: object) -> SignedEntry | None:
    try:
        return read_envelope(TypeAdapter(object).dump_json(document))
    except Refused:
        return None


def _good(answer: Answer) -> Answer:
    if answer.status // 100 == 2:
        return answer
    raise _failure(answer)


def _failure(answer: Answer) -> Unreachable:
    """What a cache says of itself is for people to read, and no more: strangers choose none of our kinds of errors."""
    brief, next_step = f"It answers {answer.status}.", _NEXT.get(answer.status, "")
    try:
        document = ErrorDocument.model_validate_json(answer.body)
    except ValidationError:
        return Unreachable(brief, "", next_step)
    return Unreachable(_shown(document.brief) or brief, _shown(document.details), next_step)


def _shown(words: str) -> str:
    return "".join(each if each.isprintable() else " " for each in words[:_WORDS]).strip()


def _nonsense(cache: Cache) -> Unreachable:
    return Unreachable(f"{cache.name} answers with something else than entries.")
