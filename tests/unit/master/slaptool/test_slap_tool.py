"""The classic protocol: what its forms mean, and how failures are told."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from slap.master.slaptool.forms import Fields, refusal
from slap.master.slaptool.reports import reason_of
from slap.master.slaptool.requests import order_of, supply_of
from slap.model.computer import ComputerConfiguration
from slap.model.errors import CannotBePlaced, Conflict, InvalidInput, NotFound, NotReady, SlapError
from slap.model.serialisation import Serialisation
from slap.model.slapos.format import configuration_of, reference_of
from slap.model.state import InstanceState, SupplyState
from slap.system.marshal import SlapObject, dumps, loads

RECORDED = Path(__file__).parents[2] / "system" / "recorded"
EMPTY = ComputerConfiguration(partitions=())


def fields(**values: Any) -> Fields:
    """A form; what is not a string is marshalled, as clients do."""
    words = {name: value if isinstance(value, str) else dumps(value[0]).decode() for name, value in values.items()}
    return Fields(words, "requestComputerPartition")


def an_order(**more: Any) -> Fields:
    return fields(partition_reference="web", software_release="/r/software.cfg", **more)


def test_an_order_that_says_little_is_for_a_started_instance_of_the_default_type() -> None:
    order = order_of(an_order(software_type="None", state=[None], shared_xml=[False], filter_xml=[{}]))
    assert (order.state, order.software_type, order.shared) == (InstanceState.STARTED, "default", False)
    assert order.parameters == {}
    assert order_of(an_order(state=[""])) == order


def test_an_order_that_says_all_of_it() -> None:
    order = order_of(
        an_order(
            software_type="RootSoftwareInstance",
            partition_parameter_xml=[{"_": '{"port": 80}'}],
            filter_xml=[{"computer_guid": "COMP-1", "instance_guid": "INST-1", "zone": "paris"}],
            state=["stopped"],
            shared_xml=[True],
        )
    )
    assert order.software_type == "RootSoftwareInstance"
    assert (order.parameters, order.serialisation) == ({"port": 80}, Serialisation.JSON)
    assert (order.sla.computer, order.sla.instance, order.sla.labels) == ("COMP-1", "INST-1", {"zone": "paris"})
    assert (order.state, order.shared) == (InstanceState.STOPPED, True)


@pytest.mark.parametrize(
    "more, reason",
    [
        ({"state": ["runing"]}, "no state 'runing'"),
        ({"state": [{"a": "b"}]}, "no state"),
        ({"partition_parameter_xml": [["a"]]}, "not a dictionary"),
        ({"partition_parameter_xml": [{1: "a"}]}, "not a string"),
        ({"partition_parameter_xml": [{"a": 2**70}]}, "64 bits"),
        ({"partition_parameter_xml": [{"a": [SlapObject("Computer", {"_computer_id": "x"})]}]}, "neither"),
        ({"partition_parameter_xml": "<marshal>"}, "cannot be read"),
        ({"filter_xml": [{"mode": "unique_by_moon"}]}, "unique_by_moon"),
    ],
)
def test_orders_that_mean_nothing_are_refused(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        order_of(an_order(**more))


def test_fields_that_are_missing_are_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        order_of(fields(software_release="x"))
    assert "partition_reference is missing" in caught.value.details


def test_supplies() -> None:
    assert supply_of(fields(url="u", computer_id="c", state="destroyed")).state is SupplyState.DESTROYED
    with pytest.raises(InvalidInput, match="no state 'avaliable'"):
        supply_of(fields(url="u", computer_id="c", state="avaliable"))


def test_a_node_of_slapos_tells_its_partitions() -> None:
    document = loads((RECORDED / "format.xml").read_bytes())
    known = ComputerConfiguration(partitions=(), labels={"zone": "paris"}, capabilities=frozenset({"kvm"}), network="n")
    told = configuration_of(document, known)
    assert reference_of(document) == "local_computer"
    assert [each.name for each in told.partitions] == ["slappart0", "slappart1", "slappart2"]
    first = told.partitions[0]
    assert (first.ipv4, first.ipv6, first.tap, first.route) == (("10.0.1.0",), ("2001:db8::1",), "slaptap0", None)
    # What such a node knows nothing of stays.
    assert (told.labels, told.capabilities, told.network) == (known.labels, known.capabilities, "n")


def test_what_is_routed_to_a_tap_interface_is_told() -> None:
    routed = {
        "ipv4_addr": "10.1.0.2",
        "ipv4_gateway": "10.1.0.1",
        "ipv4_netmask": "255.255.0.0",
        "ipv4_network": "10.1.0.0",
    }
    partition = {"reference": "slappart0", "address_list": [], "tap": {"name": "tap0", **routed}}
    told = configuration_of({"reference": "c", "partition_list": [partition]}, EMPTY)
    assert told.partitions[0].route == ("10.1.0.2", "10.1.0.1", "255.255.0.0", "10.1.0.0")


@pytest.mark.parametrize(
    "document",
    [
        None,
        "text",
        {"partition_list": []},
        {"reference": "c"},
        {"reference": "c", "partition_list": {}},
        {"reference": "c", "partition_list": [None]},
        {"reference": "c", "partition_list": [{"reference": "a", "address_list": ["10.0.0.1"]}]},
        {"reference": "c", "partition_list": [{"reference": "a", "address_list": [{"addr": "../../etc"}]}]},
    ],
)
def test_formatting_that_is_none_is_refused(document: object) -> None:
    with pytest.raises(InvalidInput):
        reference_of(document)
        configuration_of(document, EMPTY)


def test_the_reason_in_a_log() -> None:
    assert reason_of("Traceback (most recent call last):\n  File ...\nValueError: no disk\n") == "ValueError: no disk"
    assert reason_of("promise web failed:\nno answer\n") == "promise web failed:\nno answer"
    assert reason_of("x" * 100_000).endswith("x")
    assert len(reason_of("x" * 100_000)) < 5000
    assert reason_of("") == ""


def request_of(path: str, agent: str = "slapos.core/1.26.1", method: str = "POST") -> Request:
    headers = [(b"user-agent", agent.encode())]
    return Request({"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers})


@pytest.mark.parametrize(
    "error, status",
    [
        (NotFound("no"), 404),
        (CannotBePlaced("no"), 404),
        (NotReady("no"), 408),
        (InvalidInput("no"), 400),
        (Conflict("no"), 409),
        (SlapError("no"), 500),
    ],
)
def test_failures_have_the_status_that_clients_expect_and_say_why(error: SlapError, status: int) -> None:
    answer = refusal(request_of("/requestComputerPartition", "curl/8"), error)
    assert (answer.status_code, answer.body) == (status, b"no")


def test_the_client_of_slapos_shows_where_it_was_sent_so_it_is_sent_to_the_reason() -> None:
    error = CannotBePlaced("No computer can take web.", "one (COMP-1): has no free partition\r\n", "Add one & more.")
    answer = refusal(request_of("/requestComputerPartition"), error)
    assert answer.status_code == 303
    assert answer.headers["location"] == (
        "?refused=No+computer+can+take+web.+one+(COMP-1):+has+no+free+partition%5Cr+Add+one+%26+more."
    )


@pytest.mark.parametrize(
    "path, error, status",
    [
        ("/requestComputerPartition", NotReady("later"), 408),  # "the master is provisioning it"
        ("/supplySupply", NotFound("no"), 404),  # "the computer has not been found"
        ("/startedComputerPartition", NotFound("no"), 404),
    ],
)
def test_the_client_of_slapos_is_told_at_once_what_it_says_by_itself(path: str, error: SlapError, status: int) -> None:
    assert refusal(request_of(path), error).status_code == status
    assert refusal(request_of(path, method="GET"), InvalidInput("no")).status_code == 400
