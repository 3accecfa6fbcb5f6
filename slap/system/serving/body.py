"""Bodies of requests: how large they are said to be, and room in memory for them."""

import asyncio
from collections import Counter

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from slap.model.errors import Busy
from slap.system.serving.limits import BodyLimits

# The connection buffers this much anyway, so it does not wait for room that other callers took.
_SMALL = 64 * 1024
_UNKNOWN = ""


class BodyRoom:
    """Memory for bodies. Each is given room before it is read, and gives it back once its request is answered."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._held: Counter[str] = Counter()  # bytes by owner
        self._waiting: set[asyncio.Future[None]] = set()

    async def take(self, owner: str, size: int) -> None:
        """Wait for room for a body; raises Busy when there is none in time. The owner "" is all unknown callers."""
        if not self._fits(owner, size):
            try:
                async with asyncio.timeout(self._limits.body_wait_seconds):
                    while not self._fits(owner, size):
                        await self._wait_for_change(owner)
            except TimeoutError:
                raise _no_room() from None
        self._held[owner] += size

    def give(self, owner: str, size: int) -> None:
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _fits(self, owner: str, size: int) -> bool:
        held = self._held[owner]
        if owner == _UNKNOWN:
            return held + size <= self._limits.unknown_bodies
        is_own_room = not held or held + size <= self._limits.bodies_per_owner
        others = self._held.total() - self._held[_UNKNOWN]
        return is_own_room and (size <= _SMALL or not others or others + size <= self._limits.bodies)

    async def _wait_for_change(self, owner: str) -> None:
        if owner == _UNKNOWN:
            raise _no_room()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)


def announced_size(scope: Scope) -> int | None:
    """The size of a request's body, 0 for a request without one, None for one whose end is yet to come."""
    size = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            size = int(value)
    return size


def limited(receive: Receive, limit: int) -> Receive:
    """What is received, up to a limit; raises HTTPException with status 413 beyond it."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            await refuse_large(limit)
        return message

    return receive_limited


async def read_body(receive: Receive, limit: int) -> bytes:
    """A whole body; raises HTTPException with status 413 beyond a limit, ClientDisconnect when its sender is gone."""
    parts, received, is_complete = [], 0, False
    while not is_complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        parts.append(part)
        received += len(part)
        if received > limit:
            await refuse_large(limit)
        is_complete = not message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def once(body: bytes, receive: Receive) -> Receive:
    """A body that was received, and then what is received after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_once() -> Message:
        return messages.pop() if messages else await receive()

    return receive_once


async def refuse_large(limit: int) -> Message:
    """In place of a body that is too large: raises HTTPException, which applications answer in their own form."""
    raise HTTPException(413, f"The body is larger than {limit} bytes.")


async def refuse(error: Exception) -> Message:
    """In place of a body that is refused."""
    raise error


async def receive_nothing() -> Message:
    """An empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


def _no_room() -> Busy:
    return Busy(
        "The server has no room for this request.",
        "Bodies of other requests, or of other ones of this user, are in its memory.",
        "Send it again later.",
    )
