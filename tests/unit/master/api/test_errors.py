"""Whatever goes wrong inside, each protocol says it in its own form, and not what exactly it was."""

import asyncio
import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.exc import DataError, OperationalError

from slap.master.database.text import unstorable
from slap.master.hateoas.route import install_hateoas
from slap.master.jsonrpc.route import install_jsonrpc
from slap.model.errors import Unreachable


class BrokenGuard:
    """Knows nobody, because something is broken."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def caller(self, authorization: str) -> None:
        raise self.error


def answer(error: Exception, path: str, verb: str, body: bytes = b"{}") -> tuple[int, str, str]:
    """The status, the type and the text of what an application answers when its guard fails like this."""
    app = FastAPI()
    install_jsonrpc(app)
    install_hateoas(app)
    app.state.services = SimpleNamespace(guard=BrokenGuard(error))
    return asyncio.run(_exchange(app, path, verb, body))


async def _exchange(app: FastAPI, path: str, verb: str, body: bytes) -> tuple[int, str, str]:
    sent: list[Any] = []
    headers = [(b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": verb, "path": path, "headers": headers, "query_string": b"", "scheme": "http"}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    # What was not expected is raised once more, for the server's log.
    with suppress(KeyError):
        await app({**scope, "server": ("master", 80), "client": None, "root_path": ""}, receive, send)
    found = dict(sent[0]["headers"])
    return sent[0]["status"], found[b"content-type"].decode(), b"".join(each["body"] for each in sent[1:]).decode()


CASES = [
    (KeyError("secret"), 500, 500, "Internal Server Error"),
    (OperationalError("SELECT secret", {}, Exception("disk full")), 523, 503, "Connection Error"),
    (unstorable(DataError("SELECT secret", {}, Exception("no such text"))), 400, 400, "Bad Request"),
    (Unreachable("The other master does not answer."), 523, 503, "Connection Error"),
]


@pytest.mark.parametrize(("error", "status", "plain_status", "phrase"), CASES)
def test_each_protocol_has_its_form(error: Exception, status: int, plain_status: int, phrase: str) -> None:
    found, kind, words = answer(error, "/slapos.allDocs.v0.instance_tree_list", "POST")
    document = json.loads(words)
    assert (found, kind, set(document)) == (status, "application/json", {"status", "type", "title"})
    assert (document["status"], document["type"]) == (status, phrase)
    plain, plain_kind, plain_words = answer(error, "/hateoas", "GET")
    assert (plain, plain_kind) == (plain_status, "text/plain; charset=utf-8")
    assert "secret" not in words + plain_words
