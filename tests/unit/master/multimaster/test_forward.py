"""Orders that are sent on to another master."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest

from slap.master.multimaster.config import OtherMaster
from slap.master.multimaster.forward import forward, master_for
from slap.model.errors import CannotBePlaced, InvalidInput, Unreachable
from slap.model.instance import InstanceRequest, Sla
from slap.model.state import InstanceState
from slap.system.marshal import SlapObject, dumps, loads
from slap.system.transport import Reply

_WEB = OtherMaster(url="https://other.example", releases=frozenset({"/web/software.cfg"}))
_PLAIN = OtherMaster(url="http://plain.example/", computer="COMP-1", partition="slappart3")


@dataclass
class _Line:
    """Keeps what was sent, and answers what it was told to."""

    status: int = 200
    body: bytes = b""
    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        form = {name: values[0] for name, values in parse_qs((body or b"").decode()).items()}
        self.sent.append((f"{method} {url}", form))
        return Reply(self.status, self.body)


def _order(release: str = "/kvm/software.cfg", **more: Any) -> InstanceRequest:
    return InstanceRequest(reference="front", software_release=release, **more)


def _answer(**attributes: Any) -> bytes:
    return dumps(SlapObject("SoftwareInstance", attributes))


def test_an_order_stays_here_unless_it_or_its_release_says_otherwise() -> None:
    others = (_WEB, _PLAIN)
    assert master_for(_order(), others) is None
    assert master_for(_order("/web/software.cfg"), others) == _WEB
    assert master_for(_order(sla=Sla(labels={"master_url": "http://plain.example"})), others) == _PLAIN


def test_a_master_that_is_not_configured_is_not_asked() -> None:
    with pytest.raises(InvalidInput, match="evil"):
        master_for(_order(sla=Sla(labels={"master_url": "http://evil.example"})), (_WEB,))


def test_an_order_travels_as_a_form() -> None:
    line = _Line(body=_answer(_instance_guid="SOFTINST-1", slap_computer_id="C", slap_computer_partition_id="p"))
    sla = Sla(computer="COMP-9", labels={"master_url": "https://other.example", "region": "fr"})
    placed = forward(_order(parameters={"port": 80}, sla=sla, shared=True), _WEB, "user:admin", line)
    ((where, form),) = line.sent
    assert where == "POST https://other.example/requestComputerPartition"
    assert form["partition_reference"] == "admin_front"
    assert loads(form["partition_parameter_xml"]) == {"_": '{"port": 80}'}
    assert loads(form["filter_xml"]) == {
        "computer_guid": "COMP-9",
        "region": "fr",
        "source_instance_id": "admin_front",
    }
    assert loads(form["shared_xml"]) is True
    assert "computer_id" not in form
    assert placed and (placed.guid, placed.computer, placed.partition) == ("SOFTINST-1", "C", "p")


def test_an_order_may_be_placed_as_a_partition_of_ours_there() -> None:
    line = _Line(body=_answer(_connection_dict={"_": '{"url": "http://a"}'}, ip_list=[("lo", "10.0.0.1")]))
    placed = forward(_order(parameters={"a": "b"}), _PLAIN, "INST-1", line)
    ((where, form),) = line.sent
    assert where == "POST http://plain.example/requestComputerPartition"
    assert (form["computer_id"], form["computer_partition_id"]) == ("COMP-1", "slappart3")
    assert loads(form["partition_parameter_xml"]) == {"a": "b"}
    assert placed and (placed.connection, placed.addresses) == ({"url": "http://a"}, ("10.0.0.1",))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"No free partition", CannotBePlaced),
        (500, b"<h1>Oops</h1>", Unreachable),
        (200, dumps({"no": "instance"}), Unreachable),
        (200, b"<html>", Unreachable),
    ],
)
def test_what_the_other_master_says_is_told(status: int, body: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        forward(_order(), _WEB, "user:admin", _Line(status, body))
    assert status == 200 or body.decode() in str(caught.value)


def test_what_is_gone_there_already_is_gone() -> None:
    assert forward(_order(state=InstanceState.DESTROYED), _WEB, "user:admin", _Line(404)) is None
