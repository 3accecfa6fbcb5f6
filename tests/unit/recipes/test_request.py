"""request: children are ordered, waited for, noted, and ended."""

from datetime import UTC, datetime
from typing import Any

import pytest

from slap.model.errors import CannotBePlaced, InvalidParameters, NotFound, NotReady, SlapError
from slap.model.instance import Answer, Instance, InstanceRequest, Sla, Spread
from slap.model.node import ANSWERED_FILE, CONTEXT_FILE, REQUESTED_FILE, PartitionContext, Requested
from slap.model.state import ReportedInstanceState
from slap.recipes.common.base import RecipeError
from slap.recipes.request import Request
from tests.unit.recipes.instance import Partition


class FakeMaster:
    """Answers a request with an instance that has published some keys, or with an error."""

    def __init__(self, connection: dict[str, Any] | None = None, error: SlapError | None = None) -> None:
        self.connection = connection or {}
        self.error = error
        self.requests: list[InstanceRequest] = []

    def request(self, request: InstanceRequest) -> Instance:
        self.requests.append(request)
        if self.error:
            raise self.error
        now = datetime(2024, 1, 1, tzinfo=UTC)
        return Instance(
            **request.model_dump(exclude={"state"}), guid="INST-8", requester="INST-7", root="INST-1",
            requested=request.state, reported=ReportedInstanceState.ERROR, message="no disk",
            connection=self.connection, computer="COMP-1", partition="slappart8", revision=1, created_at=now, changed_at=now,
        )  # fmt: skip


def order(partition: Partition, master: FakeMaster, text: str) -> Request:
    with partition.read("[buildout]\nparts = db\n[db]\n" + text) as buildout:
        return Request(buildout, "db", buildout["db"], lambda context: master)  # type: ignore[arg-type, return-value]


def test_a_child_is_ordered_as_its_parent_where_nothing_else_is_said(partition: Partition) -> None:
    partition.order(state="stopped")
    master = FakeMaster()
    order(partition, master, "")
    assert master.requests == [
        InstanceRequest(reference="db", software_release="/releases/web/software.cfg", state="stopped")
    ]


def test_a_child_is_ordered_as_the_options_say(partition: Partition) -> None:
    master = FakeMaster({"url": "http://db", "port": 5432, "evil\nname": "x"})
    part = order(
        partition,
        master,
        "name = My database\nsoftware-url = /db/software.cfg\nsoftware-type = big\nstate = stopped\nreturn = url\n"
        'config-size = 3\nparameters = {"nested": {"a": [1]}, "size": 2}\n'
        "sla-computer = COMP-2\nsla-network = n\nsla-label-zone = paris\nsla-capabilities = kvm ipv6\n",
    )
    sla = Sla(computer="COMP-2", network="n", labels={"zone": "paris"}, capabilities=frozenset({"kvm", "ipv6"}))
    assert master.requests == [
        InstanceRequest(
            reference="My database", software_release="/db/software.cfg", software_type="big", state="stopped",
            parameters={"nested": {"a": [1]}, "size": "3"}, sla=sla,
        )
    ]  # fmt: skip
    assert part.install() == part.update() == []
    assert {name: part.options[name] for name in part.options if name.startswith(("connection-", "instance-"))} == {
        "connection-url": "http://db",
        "connection-port": "5432",
        "instance-guid": "INST-8",
        "instance-state": "error",
    }


def test_a_parent_waits_for_the_keys_it_needs(partition: Partition) -> None:
    part = order(partition, FakeMaster({"url": "http://db"}), "return = url user password\n")
    assert (part.options["connection-url"], part.options["connection-user"]) == ("http://db", "")
    assert (part.options["json-url"], part.options["json-user"]) == ('"http://db"', "null")
    for run in (part.install, part.update):
        with pytest.raises(NotReady) as caught:
            run()
        assert str(caught.value).startswith("Waiting for child 'db' to publish user, password.\nIt is error: no disk")


class AnsweringMaster(FakeMaster):
    """Has the child publish while it is waited for."""

    def answer(self, child: str, wait: float) -> Answer:
        assert (child, 0 < wait <= 5) == ("INST-8", True)
        self.connection = {"url": "http://db"}
        return Answer(child=self.request(self.requests[0]), children=3)


@pytest.mark.parametrize(("requests", "is_answered"), [(1, True), (2, False)])
def test_an_only_child_that_answers_soon_is_waited_for(partition: Partition, requests: int, is_answered: bool) -> None:
    context = PartitionContext.model_validate_json(partition.text(CONTEXT_FILE)).model_copy(update={"patience": 5})
    (partition.folder / CONTEXT_FILE).write_text(context.model_dump_json())
    sections = "[buildout]\nparts = db\n[db]\nreturn = url\n[other]\n"
    with partition.read(sections) as buildout:
        options = buildout["db"]
        for name in ("db", "other")[:requests]:
            buildout._raw[name]["recipe"] = "slap:request"
        Request(buildout, "db", options, lambda context: AnsweringMaster())  # type: ignore[arg-type, return-value]
    assert options["connection-url"] == ("http://db" if is_answered else "")
    assert (partition.folder / ANSWERED_FILE).exists() == is_answered


@pytest.mark.parametrize("kind", [CannotBePlaced, InvalidParameters])
def test_an_error_of_a_child_names_it_and_takes_nothing_away(partition: Partition, kind: type[SlapError]) -> None:
    master = FakeMaster(error=kind("No.", "because", "do this"))
    with pytest.raises(kind) as caught:
        order(partition, master, "")
    assert str(caught.value) == "Child 'db': No.\nbecause\ndo this"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("state = runing", "state"),
        ("name = a/b", "reference"),
        ("parameters = [", "parameters"),
        ("parameters = 3", "parameters"),
        ("sla-spread = unique_by_moon", "sla.spread"),
        ("shared = perhaps", "shared"),
    ],
)
def test_a_wrong_order_is_never_sent(partition: Partition, options: str, told: str) -> None:
    master = FakeMaster()
    with pytest.raises(RecipeError, match=f"(?s)db.*{told}"):
        order(partition, master, options)
    assert master.requests == []


def test_a_child_is_shared_where_and_by_whom_the_options_say(partition: Partition) -> None:
    master = FakeMaster()
    order(partition, master, "shared = true\nsla-instance = INST-9\nsla-spread = unique_by_network\n")
    (asked,) = master.requests
    assert (asked.shared, asked.sla) == (True, Sla(instance="INST-9", spread=Spread.BY_NETWORK))


def noted(partition: Partition) -> list[tuple[str, bool, bool]]:
    lines = partition.text(REQUESTED_FILE).splitlines()
    return [(each.reference, each.shared, each.keep) for each in map(Requested.model_validate_json, lines)]


def test_a_child_is_noted_before_it_is_ordered(partition: Partition) -> None:
    with pytest.raises(CannotBePlaced):
        order(partition, FakeMaster(error=CannotBePlaced("No.")), "shared = true\n")
    order(partition, FakeMaster(), "keep = true\nname = other\n")
    assert noted(partition) == [("db", True, False), ("other", False, True)]


def test_a_child_that_shall_not_be_may_be_gone_and_is_not_noted(partition: Partition) -> None:
    part = order(partition, FakeMaster(error=NotFound("No.")), "state = destroyed\nreturn = url\n")
    assert part.install() == []
    assert (part.options["instance-guid"], part.options["instance-state"]) == ("", "destroyed")
    assert part.options["connection-url"] == ""
    assert not (partition.folder / REQUESTED_FILE).exists()
