"""Split one response that holds several blobs; verify each blob and deliver it as soon as it is complete."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from slap.model.cache import Sha512
from slap.model.errors import SlapError

Content = bytes | memoryview


class BlobRef(NamedTuple):
    """A blob to download: its digest and its exact size in bytes."""

    sha512: Sha512
    size: int

    def matches(self, content: Content) -> bool:
        return len(content) == self.size and hashlib.sha512(content).hexdigest() == self.sha512


class BlobBatch:
    """The blobs of one request. Those that were not received, for whatever reason, stay in `missing`; those that the
    cache does not have are moved to `absent`.
    """

    def __init__(self, wanted: Iterable[BlobRef], deliver: Callable[[BlobRef, Content], None]) -> None:
        self.missing = deque(wanted)
        self.absent: list[BlobRef] = []
        self._deliver = deliver
        self._parts: list[memoryview] = []  # of the blob that comes now; mostly it lies in one piece, and is not copied
        self._length = 0

    def take(self, piece: bytes) -> None:
        """Consume the next bytes of the response; raises SlapError when they do not match the expected digests."""
        rest = memoryview(piece)
        while rest:
            if not self.missing:
                raise _digest_mismatch()
            part = rest[: self.missing[0].size - self._length]
            rest = rest[len(part) :]
            self._parts.append(part)
            self._length += len(part)
            if self._length == self.missing[0].size:
                self._complete()

    def skip(self) -> None:
        """Mark the next blob as absent; raises SlapError when a part of it was received, or no blob is missing."""
        if self._parts or not self.missing:
            raise _digest_mismatch()
        self.absent.append(self.missing.popleft())

    def end(self) -> None:
        """Raise SlapError when blobs are still missing at the end of the response."""
        if self.missing:
            raise _digest_mismatch()

    def _complete(self) -> None:
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._length = [], 0
        if not self.missing[0].matches(content):
            raise _digest_mismatch()
        self._deliver(self.missing.popleft(), content)


def _digest_mismatch() -> SlapError:
    return SlapError("It sent other bytes than its entry promises.")
