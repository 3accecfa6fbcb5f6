"""Objects in an S3-compatible store, spread over prefixes as a folder spreads them over subfolders.

    PREFIX/blob/ab/abcd...       PREFIX/used/blob/ab/abcd...

Such a store keeps no time of a last use: that is an empty object beside, written at most once a day.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from queue import Full, Queue
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from slap.cache.storage.storage import PIECE, Stored, checked, checked_prefix, is_whole, missing
from slap.model.errors import InvalidInput, Unreachable
from slap.system.trust.cloud_keys import CloudKeys

_DAY = 24 * 3600.0
_USED = "used"
_SPREAD = 2
_PART = 8 << 20  # of an upload: what is not larger goes in one request
_READ = 4 << 20  # of a download: each request has a time limit of its own, so that slow readers are no harm
_MOST_REMEMBERED = 100_000
_FAILURES = (BaseError, OSError, ValueError)


class S3:
    """Storage in a bucket."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._used: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        path, source = _path(checked(key)), _Pieces(chunks)
        first = source.take(_PART)
        try:
            if source.is_over:
                obstore.put(self._store, path, first, use_multipart=False)
            else:
                self._put_in_parts(path, chain((first,), source))
        except BaseError as error:
            raise _unreachable(error) from error
        self._remember(path, time.time())
        return source.size

    def get(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        path = _path(checked(key))
        if end is not None and start < end and (first := self._range(path, start, end)):
            return self._pieces(path, start, end, first)
        found = self._head(path)  # it is missing, empty, or ends before `start`
        if found is None:
            raise missing(key)
        return self._pieces(path, start, found[0] if end is None else min(end, found[0]))

    def size(self, key: str) -> int | None:
        found = self._head(_path(checked(key)))
        if found is None:
            return None
        self._record_use(_path(key), found[1])
        return found[0]

    def delete(self, key: str) -> None:
        path = _path(checked(key))
        for each in (path, f"{_USED}/{path}"):
            try:
                obstore.delete(self._store, each)
            except FileNotFoundError:
                continue
            except _FAILURES as error:
                raise _unreachable(error) from error

    def keys(self, prefix: str = "") -> Iterator[Stored]:
        folder = _listed(checked_prefix(prefix))
        if is_whole(prefix) and (found := self._head(_path(prefix))):
            used = self._head(f"{_USED}/{_path(prefix)}")
            yield Stored(prefix, found[0], max(found[1], used[1] if used else 0.0))
            return
        uses = _Uses(self._listing(f"{_USED}/{folder}"))
        for path, size, changed in self._listing(folder):
            key = _key(path)
            if not path.startswith(f"{_USED}/") and key.startswith(prefix):
                yield Stored(key, size, max(changed, uses.of(path)))

    def _put_in_parts(self, path: str, pieces: Iterable[bytes]) -> None:
        """What the pieces raise ends the upload. They are made in this thread: the library's own can do nothing else."""
        waiting: Queue[bytes | _Cut | None] = Queue(maxsize=1)
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(
                obstore.put,
                self._store,
                path,
                _drained(waiting),
                use_multipart=True,
                chunk_size=_PART,
                max_concurrency=2,
            )
            end: _Cut | None = _Cut()
            try:
                for piece in pieces:
                    _offer(waiting, piece, sent)
                end = None
            finally:
                _offer(waiting, end, sent)
        sent.result()

    def _head(self, path: str) -> tuple[int, float] | None:
        """Size and time of the last change."""
        try:
            found = obstore.head(self._store, path)
        except FileNotFoundError:
            return None
        except _FAILURES as error:
            raise _unreachable(error) from error
        return found["size"], found["last_modified"].timestamp()

    def _pieces(self, path: str, start: int, end: int, first: bytes = b"") -> Iterator[bytes]:
        for begin in range(start, end, _READ):
            data = first if first and begin == start else self._range(path, begin, end)
            yield from (data[at : at + PIECE] for at in range(0, len(data), PIECE))

    def _range(self, path: str, start: int, end: int) -> bytes:
        """At most 4 MiB from there on, with one request; nothing when nothing is there."""
        try:
            return bytes(obstore.get_range(self._store, path, start=start, end=min(start + _READ, end)))
        except FileNotFoundError:
            return b""
        except _FAILURES as error:
            found = self._head(path)
            if found is None or found[0] <= start:
                return b""
            raise _unreachable(error) from error

    def _listing(self, folder: str) -> Iterator[tuple[str, int, float]]:
        """Path, size and time of the last change of all that is below a folder, in their order."""
        try:
            for page in obstore.list(self._store, folder or None):
                yield from ((each["path"], each["size"], each["last_modified"].timestamp()) for each in page)
        except _FAILURES as error:
            raise _unreachable(error) from error

    def _record_use(self, path: str, changed: float) -> None:
        now = time.time()
        if now - max(changed, self._used.get(path, 0)) > _DAY:
            with suppress(*_FAILURES):  # credentials that may only read serve as well
                obstore.put(self._store, f"{_USED}/{path}", b"", use_multipart=False)
            self._remember(path, now)

    def _remember(self, path: str, when: float) -> None:
        with self._lock:
            self._used[path] = when
            if len(self._used) > _MOST_REMEMBERED:
                self._used.popitem(last=False)


class _Cut(Exception):
    """There is no more: the upload is given up."""


class _Pieces:
    """Chunks on their way, in pieces that the store likes: how many bytes, and whether that was all."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.size = 0
        self.is_over = False

    def take(self, least: int) -> bytes:
        """At least so many bytes, or all that is left."""
        taken = bytearray()
        while len(taken) < least and not self.is_over:
            chunk = next(self._chunks, None)
            self.is_over = chunk is None
            taken += chunk or b""
        self.size += len(taken)
        return bytes(taken)

    def __iter__(self) -> Iterator[bytes]:
        while not self.is_over:
            if piece := self.take(PIECE):
                yield piece


def _offer(waiting: "Queue[bytes | _Cut | None]", item: bytes | _Cut | None, sent: "Future[obstore.PutResult]") -> None:
    """Hand a piece over, unless nobody takes any more because the upload failed."""
    while not sent.done():
        try:
            waiting.put(item, timeout=0.5)
            return
        except Full:
            continue


def _drained(waiting: "Queue[bytes | _Cut | None]") -> Iterator[bytes]:
    while (item := waiting.get()) is not None:
        if isinstance(item, _Cut):
            raise item
        yield item


class _Uses:
    """The times of last uses, which are asked for in the order of their paths."""

    def __init__(self, listing: Iterator[tuple[str, int, float]]) -> None:
        self._listing = listing
        self._next = next(listing, None)

    def of(self, path: str) -> float:
        marker = f"{_USED}/{path}"
        while self._next and self._next[0] < marker:
            self._next = next(self._listing, None)
        return self._next[2] if self._next and self._next[0] == marker else 0.0


def open_s3(url: str, keys: CloudKeys) -> S3:
    """The store that s3://BUCKET/PREFIX?endpoint=URL&region=NAME names."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    endpoint, region = options.pop("endpoint", ""), options.pop("region", keys.region)
    if not parts.hostname or options or parts.username or parts.password:
        raise InvalidInput(
            f"{url.partition('?')[0]} is not the URL of a store.",
            "It is like s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME, without credentials.",
            "Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from ~/.aws/credentials.",
        )
    return S3(_store(parts.netloc, parts.path.strip("/"), endpoint, region, keys))


def _store(bucket: str, prefix: str, endpoint: str, region: str, keys: CloudKeys) -> S3Store:
    given = {"endpoint": endpoint, "token": keys.session_token}
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=region or "us-east-1",
        access_key_id=keys.key_id,
        secret_access_key=keys.secret,
        virtual_hosted_style_request=False,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": "60s", "connect_timeout": "5s"},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
        **options,
    )


def _path(key: str) -> str:
    space, _, name = key.partition("/")
    return f"{space}/{name[:_SPREAD]}/{name}"


def _key(path: str) -> str:
    space, _, spread = path.partition("/")
    return f"{space}/{spread.partition('/')[2]}"


def _listed(prefix: str) -> str:
    """The folder that has all whose keys begin so: whole steps of a path can be listed, and nothing finer."""
    space, slash, name = prefix.partition("/")
    if not slash:
        return ""
    member = name.partition("/")[0] if "/" in name else ""
    steps = [space, name[:_SPREAD] if len(name) >= _SPREAD else "", member]
    return "/".join(filter(None, steps))


def _unreachable(error: Exception) -> Unreachable:
    return Unreachable("The store of the cache failed.", str(error).partition("\n")[0][:300], "Try again later.")
