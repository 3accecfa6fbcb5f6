"""One connection to one cache: read and write signed entries and blobs."""

import hashlib
from collections.abc import Callable, Mapping
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

from slap.cache.client.blob_batch import BlobBatch
from slap.cache.client.settings import Cache
from slap.cache.trust.envelope import parse_envelope
from slap.cache.trust.errors import RejectedStatement
from slap.model.base import Frozen
from slap.model.cache import LARGEST_ENVELOPE, Sha512, SignedEntry
from slap.model.errors import ErrorDocument, Unreachable
from slap.system.network.http_connection import Answer, Ask, Line
from slap.system.transport import Tls

# Entries under one key that are looked at. A cache that has more of them lets anybody write, and is no help.
_MAX_ENTRIES = 256
_MAX_ANSWER_BYTES = _MAX_ENTRIES * LARGEST_ENVELOPE
_TIMEOUT = 30.0  # of single operations of the network; who waits cuts the line long before
_MISSING = 404
# What helps, by status, in our own words: those of a cache are not for people to follow.
_RESOLUTIONS: Mapping[int, str] = {
    401: "Who runs the cache makes a token there, by slapos cache token NAME: put it into the node's etc/cache.token.",
    507: "Who runs the cache makes room there, by slapos cache gc, or raises its `quota`.",
}
_MAX_MESSAGE_CHARACTERS = 300  # characters of what a cache says of itself
_SLAPOS_ENTRIES = TypeAdapter(list[tuple[str, str]])


class _Page(Frozen):
    entries: tuple[SignedEntry, ...] = Field(max_length=1000)
    next: str | None = None


class _Entries(Frozen):
    """The entries of a response; each is parsed by itself, so that a malformed one does not hide the others."""

    entries: tuple[object, ...] = Field(max_length=_MAX_ENTRIES * 4)


class CacheConnection:
    """A connection for one thread; another thread may close it by `line.cut()`."""

    def __init__(self, cache: Cache, tls: Tls, token: str = "", timeout: float = _TIMEOUT) -> None:
        self.cache = cache
        self.line = Line(tls, timeout)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._has_batches = bool(
            cache.own
        )  # until it is found out: a web server with files, or an older cache, has none

    def entries(self, key: str) -> tuple[SignedEntry, ...]:
        """Return the signed entries of a key, unverified; none from a cache that has only SlapOS's protocol."""
        if not self.cache.own:
            return ()
        digest = hashlib.sha256(key.encode()).hexdigest()
        answer = self._ask(Ask("GET", f"{self._own}/entries/{digest}", None, _MAX_ANSWER_BYTES))
        if answer.status == _MISSING:
            return ()
        try:
            found = _Entries.model_validate_json(_check_status(answer).body).entries[:_MAX_ENTRIES]
        except ValidationError as error:
            raise _unreadable_answer(self.cache) from error
        return tuple(entry for each in found if (entry := _parse_entry(each)))

    def all_entries(self, page: str = "") -> tuple[tuple[SignedEntry, ...], str]:
        """Return a page of all entries and the name of the next page, empty after the last one."""
        query = f"?page={quote(page, safe='')}" if page else ""
        answer = _check_status(self._ask(Ask("GET", f"{self._own}/entries{query}", None, 64 << 20)))
        try:
            found = _Page.model_validate_json(answer.body)
        except ValidationError as error:
            raise _unreadable_answer(self.cache) from error
        return found.entries, found.next or ""

    def slapos_entries(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return the (JSON, signature) pairs that SlapOS's protocol has for a key, unverified."""
        answer = self._ask(Ask("GET", f"{self.cache.directory}/{quote(key, safe=':=')}", None, _MAX_ANSWER_BYTES))
        if answer.status == _MISSING:
            return ()
        try:
            return tuple(_SLAPOS_ENTRIES.validate_json(_check_status(answer).body))[:_MAX_ENTRIES]
        except ValidationError as error:
            raise _unreadable_answer(self.cache) from error

    def bring(self, batch: BlobBatch, take: Callable[[bytes], None]) -> None:
        """Give the bytes of blobs to `take`, which gives them to the batch, as they come, one blob after the other.

        Nothing is known of them before their digests were looked at. Those that it has not are `absent` from the batch.
        """
        if len(batch.missing) == 1 or not self._has_batches:
            self._fetch_each(batch, take)
        elif not self._fetch_together(batch, take):
            self._fetch_each(batch, take)
            self._has_batches = bool(batch.absent)  # which is why; else it has all of them, and knows no such request

    def _fetch_together(self, batch: BlobBatch, take: Callable[[bytes], None]) -> bool:
        names, limit = ",".join(each.sha512 for each in batch.missing), sum(each.size for each in batch.missing)
        answer = self.line.ask(Ask("GET", f"{self._own}/blobs?sha512={names}", None, limit, self._headers), take)
        return answer.status // 100 == 2

    def _fetch_each(self, batch: BlobBatch, take: Callable[[bytes], None]) -> None:
        for wanted in tuple(batch.missing):
            answer = self.line.ask(Ask("GET", self._blob_url(wanted.sha512), None, wanted.size, self._headers), take)
            if answer.status == _MISSING:
                batch.skip()
            else:
                _check_status(answer)

    def fetch_slapos_blob(self, sha512: Sha512, limit: int, take: Callable[[bytes], None]) -> None:
        """Pass the bytes of a blob to `take`, by SlapOS's protocol; raises when there are more than `limit`."""
        _check_status(self.line.ask(Ask("GET", f"{self.cache.blobs}/{sha512}", None, limit, self._headers), take))

    def has(self, sha512: Sha512) -> bool:
        status = self._ask(Ask("HEAD", self._blob_url(sha512))).status
        if status not in (200, _MISSING):
            raise Unreachable(f"It answers {status}.")
        return status == 200

    def put_blob(self, sha512: Sha512, content: bytes) -> None:
        _check_status(self._ask(Ask("PUT", self._blob_url(sha512), content)))

    def put_entry(self, key: str, signed: SignedEntry) -> None:
        digest = hashlib.sha256(key.encode()).hexdigest()
        body = signed.model_dump_json(by_alias=True).encode()
        _check_status(self._ask(Ask("PUT", f"{self._own}/entries/{digest}", body)))

    @property
    def _own(self) -> str:
        return f"{self.cache.own}/api/v1"

    def _blob_url(self, sha512: Sha512) -> str:
        return f"{self._own}/blobs/{sha512}" if self.cache.own else f"{self.cache.blobs}/{sha512}"

    def _ask(self, ask: Ask) -> Answer:
        headers: Mapping[str, str] = {"Content-Type": "application/octet-stream"} if ask.body is not None else {}
        return self.line.ask(Ask(ask.method, ask.url, ask.body, ask.limit, {**headers, **self._headers}))


def _parse_entry(document: object) -> SignedEntry | None:
    try:
        return parse_envelope(TypeAdapter(object).dump_json(document))
    except RejectedStatement:
        return None


def _check_status(answer: Answer) -> Answer:
    if answer.status // 100 == 2:
        return answer
    raise _failure(answer)


def _failure(answer: Answer) -> Unreachable:
    """What a cache says of itself is for people to read, and no more: strangers choose none of our kinds of errors."""
    brief, next_step = f"It answers {answer.status}.", _RESOLUTIONS.get(answer.status, "")
    try:
        document = ErrorDocument.model_validate_json(answer.body)
    except ValidationError:
        return Unreachable(brief, "", next_step)
    return Unreachable(
        _strip_control_characters(document.brief) or brief, _strip_control_characters(document.details), next_step
    )


def _strip_control_characters(words: str) -> str:
    return "".join(each if each.isprintable() else " " for each in words[:_MAX_MESSAGE_CHARACTERS]).strip()


def _unreadable_answer(cache: Cache) -> Unreachable:
    return Unreachable(f"{cache.name} answers with something else than entries.")
