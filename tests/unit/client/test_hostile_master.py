"""A master that lies to its nodes: what they cannot use is left out, and all else is used."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slap.client.native import NativeMaster
from slap.model.errors import SlapError
from slap.model.node import DesiredState
from slap.node.core.store import Store
from slap.system.transport import Reply

GOOD: dict[str, Any] = {
    "guid": "INST-1", "partition": "slappart0", "reference": "good", "root": "INST-1", "root_reference": "good",
    "software_release": "/r/software.cfg", "software_type": "default", "parameters": {}, "state": "started", "token": "t",
}  # fmt: skip
BAD = "INST-2"


class Answering:
    """The transport to a master that answers one document."""

    def __init__(self, document: object) -> None:
        self.body = document if isinstance(document, bytes) else json.dumps(document).encode()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        return Reply(200, self.body)


def asked(document: object) -> DesiredState:
    return NativeMaster("http://127.0.0.1:9", "token", Answering(document)).desired_state("COMP-1", 0, 0, "")


def a_state(**changes: Any) -> dict[str, Any]:
    return {"computer": "COMP-1", "revision": 7, "since": 0, "incarnation": "ab", "instances": [GOOD], **changes}


INSTANCES: list[dict[str, Any]] = [
    {"guid": "../../etc"},
    {"guid": ""},
    {"guid": "a\nb"},
    {"partition": "../slappart1"},
    {"partition": "slappart1\n[program:x]"},
    {"partition": ""},
    {"reference": "a\x1b[31m"},
    {"reference": "x" * 3000},
    {"root": "a/b"},
    {"root_reference": "\0"},
    {"software_release": "http://x/\r\nHost: y"},
    {"software_release": "x" * 3000},
    {"software_type": "../../passwd"},
    {"software_type": "a\0"},
    {"parameters": {"a": 10**30}},
    {"parameters": {"a": "\0"}},
    {"parameters": []},
    {"state": "owned"},
    {"bang": -1},
    {"children": 10**30},
    {"revision": -1},
    {"revision": "many"},
    {"token": "a\r\nX-Admin: 1"},
    {"token": "x" * 3000},
    {"shared": [{"guid": "../x"}]},
    {"shared": 1},
    {"colour": "blue"},
]


@pytest.mark.parametrize(
    "changes", INSTANCES, ids=lambda each: f"{next(iter(each))}={str(next(iter(each.values())))[:20]!r}"
)
def test_an_instance_that_is_not_usable_holds_up_no_other(changes: dict[str, Any]) -> None:
    state = asked(a_state(instances=[GOOD, {**GOOD, "guid": BAD, "partition": "slappart1", **changes}]))
    assert [each.guid for each in state.instances] == ["INST-1"]
    assert set(state.unusable) == (set() if "guid" in changes else {BAD})
    assert all(next(iter(changes)) in reason for reason in state.unusable.values())


@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("supplies", {"url": "", "state": "available", "revision": 1}),
        ("supplies", {"url": "a\nb", "state": "available", "revision": 1}),
        ("supplies", {"url": "/r", "state": "available", "revision": 10**30}),
        ("logs", {"id": "../x", "instance": "i", "partition": "slappart0", "lines": 1}),
        ("logs", {"id": "1", "instance": "i", "partition": "../x", "lines": 1}),
        ("logs", {"id": "1", "instance": "i", "partition": "slappart0", "lines": 10**9}),
        ("logs", None),
    ],
)
def test_other_elements_are_left_out_too(name: str, element: object) -> None:
    state = asked(a_state(**{name: [element]}))
    assert ([each.guid for each in state.instances], getattr(state, name), state.unusable) == (["INST-1"], (), {})


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        {},
        a_state(revision=-1),
        a_state(revision=10**30),
        a_state(since="x"),
        a_state(incarnation="../x"),
        a_state(computer="a/b"),
        a_state(complete=["../x"]),
        a_state(instances={}),
        a_state(more=1),
    ],
)
def test_a_document_that_is_none_is_an_error_in_words(document: object) -> None:
    with pytest.raises(SlapError, match="not understood"):
        asked(document)


def test_what_was_wanted_before_stays_until_it_is_wanted_in_a_usable_way(tmp_path: Path) -> None:
    other = {**GOOD, "guid": BAD, "partition": "slappart1"}
    store = Store(tmp_path / "node.sqlite")
    store.apply(asked(a_state(instances=[GOOD, other])))
    assert not store.has_unusable()
    store.apply(asked(a_state(instances=[GOOD, {**other, "state": "owned"}])))
    assert ([each.guid for each in store.instances()], store.has_unusable()) == (["INST-1", BAD], True)
    assert Store(tmp_path / "node.sqlite").incarnation() == "ab"
    store.apply(asked(a_state(instances=[GOOD])))
    assert ([each.guid for each in store.instances()], store.has_unusable()) == (["INST-1"], False)
