"""A node that lies to its master: it speaks for itself alone, of what it has, in bounded words; nothing else changes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from slap.model.errors import InvalidInput, SlapError
from slap.model.instance import Instance
from slap.model.values import MAX_LOG_LENGTH, MAX_MESSAGE_LENGTH
from tests.contract.master.world import Node, World, order

AT = "2026-01-01T00:00:00Z"


@dataclass
class Scene:
    """Two computers of one user, each with an instance; the first one's node lies."""

    world: World
    liar: Node
    own: Instance
    other: Node
    foreign: Instance
    url: str
    revision: int

    def post(self, what: str, document: Any, guid: str = "") -> None:
        """Send a document as the liar; raises what the master answers."""
        api: Any = self.liar.api
        api._send("POST", f"/computers/{guid or self.liar.guid}/{what}", _json(document))

    def seen(self) -> list[Any]:
        """What others see: the foreign instance, the computers, and what the own instance published."""
        admin = self.world.admin
        own = admin.instance(self.own.guid)
        computers = [each.model_copy(update={"seen_at": None}) for each in admin.computers()]
        return [
            admin.instance(self.foreign.guid), admin.usage(self.foreign.guid), own.connection, own.promises,
            admin.usage(self.own.guid), admin.supplies(), computers,
        ]  # fmt: skip


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.fixture
def scene(world: World) -> Scene:
    liar, other = world.computer("liar"), world.computer("other")
    url = world.supplied(liar, other)
    own = world.admin.request(order(url, "own", sla={"computer": liar.guid}))
    foreign = world.admin.request(order(url, "foreign", sla={"computer": other.guid}))
    return Scene(world, liar, own, other, foreign, url, liar.api.desired_state(liar.guid).revision)


def instance(scene: Scene, **changes: Any) -> dict[str, Any]:
    report = {"guid": scene.own.guid, "revision": scene.revision, "state": "started"}
    return {"instances": [{**report, **changes}]}


def supply(scene: Scene, **changes: Any) -> dict[str, Any]:
    return {"supplies": [{"url": scene.url, "revision": scene.revision, "state": "available", **changes}]}


def usage(scene: Scene, start: str = AT, **changes: Any) -> dict[str, Any]:
    slot = {"start": start, "seconds": 1, **changes.pop("slot", {})}
    return {"series": [{"instance": scene.own.guid, "partition": "slappart0", "slots": [slot], **changes}]}


Lie = Callable[[Scene], tuple[str, Any]]

# What changes nothing, whether or not it is refused.
LIES: dict[str, Lie] = {
    "an instance of another computer": lambda s: ("reports", instance(s, guid=s.foreign.guid)),
    "an instance of another computer is destroyed": lambda s: (
        "reports",
        instance(s, guid=s.foreign.guid, state="destroyed"),
    ),
    "an instance that nobody asked to destroy": lambda s: ("reports", instance(s, state="destroyed")),
    "an instance that is not there": lambda s: ("reports", instance(s, guid="INST-0")),
    "a revision of the future": lambda s: ("reports", instance(s, revision=s.revision + 1)),
    "the largest revision": lambda s: ("reports", instance(s, revision=2**63 - 1)),
    "a revision of 65 bits": lambda s: ("reports", instance(s, revision=2**64)),
    "a negative revision": lambda s: ("reports", instance(s, revision=-1)),
    "a revision of the past": lambda s: ("reports", instance(s, revision=0)),
    "another history": lambda s: ("reports", {**instance(s), "incarnation": "ab" * 16}),
    "a history that is none": lambda s: ("reports", {**instance(s), "incarnation": "../x"}),
    "a state that nodes do not have": lambda s: ("reports", instance(s, state="unknown")),
    "a state that is none": lambda s: ("reports", instance(s, state="owned")),
    "a connection of 65 bits": lambda s: ("reports", instance(s, connection={"a": 2**64})),
    "a connection with NUL": lambda s: ("reports", instance(s, connection={"a": "\0"})),
    "a connection without end": lambda s: ("reports", instance(s, connection={"a": "x" * (2 << 20)})),
    "connections of instances that it does not serve": lambda s: (
        "reports",
        {**instance(s, revision=0, shared={s.foreign.guid: {"a": 1}})},
    ),
    "too many promises": lambda s: (
        "reports",
        instance(s, promises=[{"name": f"{n}", "passed": True, "at": AT} for n in range(1001)]),
    ),
    "a promise that took for ever": lambda s: (
        "reports",
        instance(s, promises=[{"name": "p", "passed": True, "at": AT, "seconds": float("inf")}]),
    ),
    "too many reports": lambda s: ("reports", {"instances": instance(s, revision=0)["instances"] * 2001}),
    "a supply of the future": lambda s: ("reports", supply(s, revision=s.revision + 1)),
    "a supply of another release": lambda s: ("reports", supply(s, url="/other/software.cfg")),
    "logs that nobody asked for": lambda s: ("reports", {"logs": [{"id": "x", "text": "y"}]}),
    "usage of an instance elsewhere": lambda s: ("usage", usage(s, instance=s.foreign.guid)),
    "usage without end": lambda s: ("usage", usage(s, slot={"cpu": float("inf")})),
    "usage of 65 bits": lambda s: ("usage", usage(s, slot={"memory": 2**64})),
    "negative usage": lambda s: ("usage", usage(s, slot={"disk": -1})),
    "usage at a time without a zone": lambda s: ("usage", usage(s, start="2026-01-01T00:00:00")),
    "a journal that is none": lambda s: ("journal", {"text": "\0"}),
    "a journal of another's partition": lambda s: ("journal", {"text": "<journal/>"}),
}


@pytest.mark.parametrize("name", list(LIES))
def test_a_lie_changes_nothing(scene: Scene, name: str) -> None:
    before = scene.seen()
    what, document = LIES[name](scene)
    try:
        scene.post(what, document)
    except SlapError as error:
        assert isinstance(error, InvalidInput), error
    assert scene.seen() == before
    assert scene.world.admin.instance(scene.own.guid).status in ("waiting", "starting")
    scene.post("reports", instance(scene))
    assert scene.world.admin.instance(scene.own.guid).status == "started"


@pytest.mark.parametrize("what", ["reports", "usage", "journal", "bang"])
def test_it_does_not_speak_for_another_computer(scene: Scene, what: str) -> None:
    before = scene.seen()
    documents = {"usage": {"series": []}, "journal": {"text": "<journal/>"}, "bang": {"message": ""}}
    with pytest.raises(SlapError) as raised:
        scene.post(what, documents.get(what, {}), scene.other.guid)
    assert raised.value.kind in ("forbidden", "not-found")
    assert scene.seen() == before


def test_of_what_programs_print_a_part_is_kept(scene: Scene) -> None:
    scene.post("reports", {**instance(scene, state="error", message="m\0" * (1 << 20))})
    scene.post("reports", supply(scene, state="error", log="l" * (1 << 20) + "end"))
    message = scene.world.admin.instance(scene.own.guid).message
    assert (message[:2], len(message)) == ("m\ufffd", MAX_MESSAGE_LENGTH)
    (log,) = [each.log for each in scene.world.admin.supplies(scene.liar.guid, scene.url)]
    assert (log[-3:], len(log)) == ("end", MAX_LOG_LENGTH)


def test_an_instance_that_is_reported_twice_is_what_was_said_last(scene: Scene) -> None:
    first, last = instance(scene)["instances"], instance(scene, state="error", message="no")["instances"]
    scene.post("reports", {"instances": [*first, *last]})
    assert scene.world.admin.instance(scene.own.guid).message == "no"
