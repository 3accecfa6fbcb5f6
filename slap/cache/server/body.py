"""The body of a request, as pieces for a thread that stores them: limited in size, in time, and in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from starlette.requests import Request

from slap.cache.server.quota import Reservation
from slap.model.errors import InvalidInput, TooLarge

_PIECE = 1 << 20
_SLOWEST = 16 * 1024  # bytes a second, of the whole transfer


class TooSlow(InvalidInput):
    """Nobody is waited for without end."""

    http_status = 408


class Body:
    """What a request sends. At most two pieces of 1 MiB are in memory."""

    def __init__(self, request: Request, largest: int, patience: float) -> None:
        self._stream: AsyncIterator[bytes] = aiter(request.stream())
        self._largest = largest
        self._timeout = patience
        self._loop = asyncio.get_running_loop()
        self._begun = time.monotonic()
        self.received = 0
        self.announced = announced(request)
        self._refuse_large(self.announced)

    def pieces(self, room: Reservation) -> Iterator[bytes]:
        """For another thread: the pieces as they come, once there is room for them."""
        room.take(self.announced)
        while piece := asyncio.run_coroutine_threadsafe(self._piece(), self._loop).result():
            if not self.announced:
                room.take(len(piece))
            yield piece

    async def whole(self) -> bytes:
        """All of a small body."""
        parts = bytearray()
        while piece := await self._piece():
            parts += piece
        return bytes(parts)

    async def _piece(self) -> bytes:
        """The next 1 MiB or what is left of it; empty at the end."""
        parts = bytearray()
        while len(parts) < _PIECE:
            part = await self._part()
            if part is None:
                break
            parts += part
            self.received += len(part)
            self._refuse_large(self.received)
        return bytes(parts)

    async def _part(self) -> bytes | None:
        if time.monotonic() - self._begun > self._timeout + self.received / _SLOWEST:
            raise self._too_slow()
        try:
            return await asyncio.wait_for(anext(self._stream, None), self._timeout)
        except TimeoutError:
            raise self._too_slow() from None

    def _refuse_large(self, size: int) -> None:
        if size > self._largest:
            raise TooLarge(
                "This is too large for the cache.",
                f"It takes up to {self._largest} bytes.",
                "Its setting is `largest`.",
            )

    def _too_slow(self) -> TooSlow:
        return TooSlow(
            "The body of the request came too slowly.",
            f"{self.received} bytes came in {time.monotonic() - self._begun:.0f} s.",
            "Send it again.",
        )


def announced(request: Request) -> int:
    """The Content-Length, 0 for none."""
    words = request.headers.get("content-length", "")
    return int(words) if words.isdecimal() and len(words) < 20 else 0
