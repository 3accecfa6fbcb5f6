"""Names are safe to put into paths, and documents hold nothing but what they should."""

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from slap.model.base import Name, PartitionName
from slap.model.computer import ComputerRegistration, Partition
from slap.model.instance import InstanceRequest, Sla
from slap.model.node import DesiredInstance, InstanceReport, NodeReport
from slap.model.software import SupplyRequest
from slap.model.state import InstanceState

PARTITION_NAME: TypeAdapter[str] = TypeAdapter(PartitionName)
NAME: TypeAdapter[str] = TypeAdapter(Name)

HOSTILE = [
    "..", ".", "../etc", "a/b", "/", "a\\b", "a\n", "\na", "a\0b", "a\r\nb", "a\x7f", "\t",
]  # fmt: skip


@pytest.mark.parametrize(
    "name", [*HOSTILE, "", "A", "0a", "-rf", "_a", "a b", "a.b", "a:b", "a;b", "$a", "ä", "a" * 33]
)
def test_a_hostile_partition_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        PARTITION_NAME.validate_python(name)


@pytest.mark.parametrize("name", ["a", "slappart0", "slappart-1_b", "a" * 32])
def test_a_plain_partition_name_is_taken(name: str) -> None:
    assert PARTITION_NAME.validate_python(name) == name


@pytest.mark.parametrize("name", [*HOSTILE, "...", "", "a" * 201])
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize("name", ["My web (test)", "été", "..a", ".a", "a..b", "a.", "-a"])
def test_people_may_name_things_as_they_like(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("guid", ["../COMP-1", "COMP 1", "-1", "COMP-1\n", "a" * 65])
def test_a_hostile_guid_is_refused(guid: str) -> None:
    with pytest.raises(ValidationError, match="guid"):
        ComputerRegistration(title="node", guid=guid)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (Partition, {"name": "a"}),
        (Sla, {"computer": "a"}),
        (InstanceRequest, {"reference": "a", "software_release": "b"}),
        (SupplyRequest, {"url": "a", "computer": "b"}),
        (InstanceReport, {"guid": "a", "state": "started"}),
        (NodeReport, {}),
    ],
)
def test_a_field_that_nobody_knows_is_refused(kind: type[BaseModel], document: dict[str, str]) -> None:
    kind.model_validate(document)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        kind.model_validate({**document, "colour": "blue"})


def test_a_software_type_cannot_leave_the_folder_of_its_release() -> None:
    with pytest.raises(ValidationError, match="software_type"):
        InstanceRequest(reference="a", software_release="b", software_type="../../etc/passwd")


def test_values_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Sla().computer = "other"  # type: ignore[misc]


def test_the_token_of_an_instance_is_not_shown_in_logs() -> None:
    instance = DesiredInstance(
        guid="a", partition="a", reference="a", root="a", root_reference="a", software_release="a",
        software_type="a", parameters={}, state=InstanceState.STARTED, token="secret-word",
    )  # fmt: skip
    assert "secret-word" not in repr(instance)
