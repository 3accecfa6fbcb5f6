"""Documents with lists of any length: batches, and what is in memory while they are sent."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any

import pytest
from sqlalchemy import Connection
from starlette.requests import Request

from slap.master.api.paged import PagedAnswers
from slap.master.database.hub import Hub
from slap.master.database.pages import BATCH_BYTES, PagedDocument, batches_of, spliced
from slap.master.database.store import Reading, Result, Store, Writing
from slap.model.errors import Busy

REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
HTTP_SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"spec_version": "2.4"}}


def in_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """A test that runs in an event loop of its own."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


class FakeStore(Store):
    """Reads without a database."""

    def __init__(self) -> None:
        self.hub = Hub()

    async def read(self, job: Reading[Result]) -> Result:
        return job(None)  # type: ignore[arg-type]

    async def read_much(self, job: Reading[Result]) -> Result:
        return await self.read(job)

    async def write(self, job: Writing[Result]) -> Result:
        raise NotImplementedError

    async def close(self) -> None:
        pass


class Rows:
    """Renders rows, and counts those that were read and not sent yet."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.held = self.most_held = 0

    def render(self, connection: Connection, keys: Sequence[str]) -> list[bytes]:
        self.read += keys
        self.held += len(keys)
        self.most_held = max(self.most_held, self.held)
        return [b'"%s"' % key.encode() for key in keys]


def document(rows: Rows, batches: list[list[str]]) -> PagedDocument:
    return PagedDocument(b"[", b"]", batches, rows.render(None, batches[0]), rows.render)  # type: ignore[arg-type]


async def sent(response: Any, rows: Rows) -> bytes:
    body = b""

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")
        rows.held -= message.get("body", b"").count(b'"') // 2

    async def receive() -> Any:
        await asyncio.Event().wait()

    await response(HTTP_SCOPE, receive, send)
    return body


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([], []),
        ([0], [1]),
        ([10] * 499, [499]),
        ([10] * 501, [500, 1]),
        ([BATCH_BYTES, 1], [1, 1]),
        ([4 * BATCH_BYTES] * 3, [1, 1, 1]),
        ([BATCH_BYTES // 2] * 5, [2, 2, 1]),
        ([1, 4 * BATCH_BYTES, 1], [1, 1, 1]),
    ],
)
def test_a_batch_is_of_limited_size_and_length(sizes: list[int], lengths: list[int]) -> None:
    found = batches_of([(f"k{number}", size) for number, size in enumerate(sizes)])
    assert [len(batch) for batch in found] == lengths
    assert [key for batch in found for key in batch] == [f"k{number}" for number in range(len(sizes))]


def test_a_list_is_spliced_into_the_last_place_of_its_name() -> None:
    text = b'{"root":{"parameters":{"instances":[],"a":"\\"instances\\":[]"}},"instances":[],"revision":1}'
    head, tail = spliced(text, "instances")
    assert (head[-13:], tail) == (b'"instances":[', b'],"revision":1}')
    assert head + tail == text


@in_loop
async def test_a_list_of_one_batch_is_one_response() -> None:
    rows = Rows()
    response = await PagedAnswers().response(REQUEST, FakeStore(), "eve", document(rows, [["a", "b"]]))
    assert response.body == b'["a","b"]'
    assert response.headers["content-length"] == "9"


@in_loop
async def test_a_batch_is_read_when_the_one_before_was_sent() -> None:
    rows, keys = Rows(), [[f"{batch}-{number}" for number in range(3)] for batch in range(20)]
    response = await PagedAnswers().response(REQUEST, FakeStore(), "eve", document(rows, keys))
    body = await sent(response, rows)
    assert body.decode() == "[" + ",".join(f'"{key}"' for batch in keys for key in batch) + "]"
    assert rows.most_held == 3


@in_loop
async def test_rows_that_are_gone_leave_no_trace() -> None:
    class Gone(Rows):
        def render(self, connection: Connection, keys: Sequence[str]) -> list[bytes]:
            return [] if keys[0] in ("a", "c") else super().render(connection, keys)

    rows = Gone()
    for batches, expected in (([["a"], ["b"], ["c"], ["d"]], b'["b","d"]'), ([["a"], ["c"]], b"[]")):
        response = await PagedAnswers().response(REQUEST, FakeStore(), "eve", document(rows, batches))
        assert await sent(response, rows) == expected


@in_loop
async def test_so_many_large_answers_are_sent_to_one_user_at_a_time() -> None:
    rows, answers, store = Rows(), PagedAnswers(max_answers=1, wait_seconds=0.01), FakeStore()
    first = await answers.response(REQUEST, store, "eve", document(rows, [["a"], ["b"]]))
    second = document(rows, [["a"], ["b"]])
    with pytest.raises(Busy):
        await answers.response(REQUEST, store, "eve", second)
    assert second.first == []  # who waits holds nothing
    other = await answers.response(REQUEST, store, "bob", document(rows, [["a"], ["b"]]))
    assert await sent(first, rows) == await sent(other, rows) == b'["a","b"]'
    assert await sent(await answers.response(REQUEST, store, "eve", document(rows, [["a"], ["b"]])), rows)


@in_loop
async def test_an_answer_that_waited_is_read_anew() -> None:
    rows, answers, store = Rows(), PagedAnswers(max_answers=1), FakeStore()
    first = await answers.response(REQUEST, store, "eve", document(rows, [["a"], ["b"]]))
    waiting = asyncio.ensure_future(answers.response(REQUEST, store, "eve", document(rows, [["c"], ["d"]])))
    await asyncio.sleep(0)
    assert not waiting.done()
    await sent(first, rows)
    assert await sent(await waiting, rows) == b'["c","d"]'
