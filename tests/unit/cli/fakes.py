"""A master that answers from a table, and instances to put into it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel

from slap.cli.main import World, main
from slap.client.config import write_configuration
from slap.model.errors import SlapError, Unreachable
from slap.model.instance import Instance, InstanceTree
from slap.model.state import InstanceState, ReportedInstanceState
from slap.system.clock import FakeClock
from slap.system.transport import Reply

START = FakeClock().now()


def an_instance(**changes: Any) -> Instance:
    """An instance that was ordered a minute ago and that nothing was heard of yet."""
    known: dict[str, Any] = {
        "guid": "INST-1", "reference": "hello", "requester": "user:me", "software_release": "/r/hello/software.cfg",
        "software_type": "default", "parameters": {}, "sla": {}, "requested": InstanceState.STARTED,
        "reported": ReportedInstanceState.NONE, "computer": "COMP-1", "partition": "slappart0", "revision": 1,
        "created_at": START - timedelta(minutes=1), "changed_at": START - timedelta(minutes=1),
    }  # fmt: skip
    fields = known | changes
    return Instance(**({"root": fields["guid"]} | fields))


def started(**changes: Any) -> Instance:
    seen = {"reported": "started", "changed_at": START, "connection": {"url": "http://10.0.0.1/"}}
    return an_instance(**(seen | changes))


def a_tree(*instances: Instance, revision: int = 1) -> InstanceTree:
    return InstanceTree(root=instances[0], instances=instances, revision=revision)


@dataclass
class FakeTransport:
    """Answers by method and path; of several answers one after the other, and the last one for ever."""

    answers: Mapping[str, Sequence[Any]]
    asked: list[str] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        key = f"{method} {urlsplit(url).path.removeprefix('/api/v1')}"
        self.asked.append(key)
        self.sent.append(json.loads(body) if body else None)
        answers = self.answers[key]
        return _reply(answers[min(self.asked.count(key), len(answers)) - 1])


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs commands against a fake master, in a project folder with a configuration."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def run(self, transport: FakeTransport, *words: str) -> Outcome:
        write_configuration(self.folder / "var/standalone/client.cfg", "http://master", "token")
        status = main(words, World(transport, FakeClock(), self.folder, self.folder / "home"))
        captured = self.capture.readouterr()
        return Outcome(status, captured.out, captured.err)


def _reply(answer: Any) -> Reply:
    if isinstance(answer, Unreachable | KeyboardInterrupt):
        raise answer
    if isinstance(answer, SlapError):
        return Reply(answer.http_status, answer.document().model_dump_json().encode())
    if isinstance(answer, list):
        return Reply(200, json.dumps([_plain(one) for one in answer]).encode())
    return Reply(200, json.dumps(_plain(answer)).encode())


def _plain(answer: Any) -> Any:
    return answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
