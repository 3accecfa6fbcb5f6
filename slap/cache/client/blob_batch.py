"""Blobs that come as one stream, one after the other: each is checked, and handed on, as soon as all of it is there."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from slap.model.cache import Sha512
from slap.model.errors import SlapError

Content = bytes | memoryview


class BlobRef(NamedTuple):
    """A blob to bring: its digest, and its exact size."""

    sha512: Sha512
    size: int

    def is_it(self, content: Content) -> bool:
        return len(content) == self.size and hashlib.sha512(content).hexdigest() == self.sha512


class BlobBatch:
    """What a cache brings when it is asked once. What it did not bring, for whatever reason, stays `missing`; what it
    said that it has not is `absent`.
    """

    def __init__(self, wanted: Iterable[BlobRef], deliver: Callable[[BlobRef, Content], None]) -> None:
        self.missing = deque(wanted)
        self.absent: list[BlobRef] = []
        self._deliver = deliver
        self._parts: list[memoryview] = []  # of the blob that comes now; mostly it lies in one piece, and is not copied
        self._length = 0

    def take(self, piece: bytes) -> None:
        """The next bytes of the stream; raises SlapError when they are others than were promised."""
        rest = memoryview(piece)
        while rest:
            if not self.missing:
                raise _others()
            part = rest[: self.missing[0].size - self._length]
            rest = rest[len(part) :]
            self._parts.append(part)
            self._length += len(part)
            if self._length == self.missing[0].size:
                self._complete()

    def skip(self) -> None:
        """The next one does not come; raises SlapError when it came already, or began to."""
        if self._parts or not self.missing:
            raise _others()
        self.absent.append(self.missing.popleft())

    def end(self) -> None:
        """The stream is over; raises SlapError when it should not be."""
        if self.missing:
            raise _others()

    def _complete(self) -> None:
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._length = [], 0
        if not self.missing[0].is_it(content):
            raise _others()
        self._deliver(self.missing.popleft(), content)


def _others() -> SlapError:
    return SlapError("It sent other bytes than its entry promises.")
