"""How one request differs from another."""

from typing import Any

import pytest

from slap.master.service.history import differences
from slap.model.instance import FieldChange, InstanceRequest


def _request(**more: Any) -> InstanceRequest:
    return InstanceRequest(reference="a", software_release="/x", **more)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({}, {}, []),
        ({"parameters": {"a": 1, "b": 2}}, {"parameters": {"b": 2, "a": 1}}, []),
        ({"sla": {"capabilities": ["a", "b"]}}, {"sla": {"capabilities": ["b", "a"]}}, []),
        ({}, {"state": "stopped"}, [("state", '"started"', '"stopped"')]),
        ({"parameters": {"a": {"b": 1}}}, {"parameters": {"a": {"b": "1"}}}, [("parameters.a.b", "1", '"1"')]),
        (
            {"parameters": {"a": 1}},
            {"parameters": {"c": [1]}},
            [("parameters.a", "1", ""), ("parameters.c", "", "[1]")],
        ),
        ({}, {"sla": {"labels": {"zone": "x"}}}, [("sla.labels.zone", "", '"x"')]),
    ],
)
def test_only_what_differs_is_a_change(
    before: dict[str, Any], after: dict[str, Any], changes: list[tuple[str, str, str]]
) -> None:
    found = differences(_request(**before), _request(**after))
    assert found == tuple(FieldChange(field=field, before=old, after=new) for field, old, new in changes)
