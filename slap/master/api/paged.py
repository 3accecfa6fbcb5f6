"""Answers with lists of any length: a list of several batches is sent batch by batch, each read when there is room.

A batch waits in memory until the client took the one before. So many such answers are sent to one user at a time.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial

from fastapi import Request, Response
from sqlalchemy import Connection
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from slap.master.database.pages import PagedDocument
from slap.master.database.store import Store
from slap.model.errors import Busy
from slap.system.serving.connections import count
from slap.system.serving.refusals import Refusal

MAX_ANSWERS = 4
WAIT_SECONDS = 20.0


class PagedAnswers:
    """The answers of several batches that are under way. Its methods belong to the event loop's thread."""

    def __init__(self, max_answers: int = MAX_ANSWERS, wait_seconds: float = WAIT_SECONDS) -> None:
        self._max_answers = max_answers
        self._wait_seconds = wait_seconds
        self._sending: Counter[str] = Counter()  # by owner
        self._changed = asyncio.Event()

    async def response(self, request: Request, store: Store, owner: str, document: PagedDocument) -> Response:
        """The response that sends a document; raises Busy when too many are sent to its owner and none ends in time."""
        if len(document.batches) <= 1:
            body = document.head + document.separator.join(document.first) + document.tail
            return Response(body, media_type=document.media_type)
        if self._sending[owner] >= self._max_answers:
            document.first.clear()  # read again in its turn: any number may wait
        try:
            async with asyncio.timeout(self._wait_seconds):
                while self._sending[owner] >= self._max_answers:
                    await self._changed.wait()
        except TimeoutError:
            count(request.scope, Refusal.MANY_ANSWERS)
            raise _too_many(self._max_answers) from None
        self._sending[owner] += 1
        return _PagedResponse(self, owner, _pieces(store, document), document.media_type)

    def end(self, owner: str) -> None:
        """Let the next one of an owner begin."""
        self._sending[owner] -= 1
        if not self._sending[owner]:
            del self._sending[owner]
        self._changed.set()
        self._changed = asyncio.Event()


class _PagedResponse(StreamingResponse):
    """A response that has a place among those of its owner, until it is sent or its client is gone."""

    def __init__(self, answers: PagedAnswers, owner: str, pieces: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(pieces, media_type=media_type)
        self._answers = answers
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answers.end(self._owner)


async def _pieces(store: Store, document: PagedDocument) -> AsyncIterator[bytes]:
    before = document.head
    for index, keys in enumerate(document.batches):
        is_read = index == 0 and document.first
        rows = document.first if is_read else await store.read_much(partial(_render, document, keys))
        if rows:
            rows[:] = [before + document.separator.join(rows)]
            before = document.separator
            yield rows.pop()  # nothing here keeps it while it is sent, and the next one read
    yield document.tail if before == document.separator else before + document.tail


def _render(document: PagedDocument, keys: Sequence[str], connection: Connection) -> list[bytes]:
    return document.render(connection, keys)


def _too_many(max_answers: int) -> Busy:
    return Busy(
        "Too many large answers are being sent to this user.",
        f"{max_answers} are sent at a time.",
        "Read those to their ends, then ask again.",
    )
