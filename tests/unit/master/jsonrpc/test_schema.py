"""What the methods take: JSON of these fields and types, and no other."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from slap.master.jsonrpc import schema

ORDER = {"title": "a", "software_release_uri": "/x/software.cfg", "software_type": "default"}
PARTITION = {"partition_id": "slappart0", "ip_list": [{"ip-address": "::1", "netmask": "ffff::"}]}
FORMAT = {"computer_guid": "C", "compute_partition_list": [PARTITION]}

GOOD: list[tuple[type[schema.Asked], dict[str, Any]]] = [
    (schema.Nothing, {}),
    (schema.Order, ORDER),
    (schema.Order, {**ORDER, "state": "stopped", "shared": True, "parameters": {"a": [1, None]}}),
    (schema.Order, {**ORDER, "sla_parameters": {"computer_guid": "C", "zone": "paris", "retention_delay": 2}}),
    (schema.Order, {**ORDER, "title": "é" * 200}),
    (schema.Format, FORMAT),
    (schema.Format, {"computer_guid": "C", "compute_partition_list": []}),
    (schema.Format, {"computer_guid": "C", "compute_partition_list": [{**PARTITION, "capability_list": []}]}),
    (schema.Published, {"instance_guid": "I", "connection_parameter_dict": {"url": "x", "n": 1}}),
]
BAD: list[tuple[type[schema.Asked], object]] = [
    (schema.Nothing, {"a": 1}),
    (schema.Nothing, []),
    (schema.Nothing, None),
    (schema.Nothing, "text"),
    (schema.Order, {**ORDER, "colour": "red"}),
    (schema.Order, {**ORDER, "title": 1}),
    (schema.Order, {**ORDER, "title": None}),
    (schema.Order, {**ORDER, "title": "a" * 201}),
    (schema.Order, {**ORDER, "state": "runing"}),
    (schema.Order, {**ORDER, "state": None}),
    (schema.Order, {**ORDER, "shared": "true"}),
    (schema.Order, {**ORDER, "shared": 1}),
    (schema.Order, {**ORDER, "parameters": "{}"}),
    (schema.Order, {**ORDER, "parameters": []}),
    (schema.Order, {**ORDER, "sla_parameters": {"computer_guid": 1}}),
    (schema.Order, {**ORDER, "sla_parameters": {"computer_guid": None}}),
    (schema.Order, {**ORDER, "sla_parameters": {"retention_delay": "2"}}),
    (schema.Order, {name: ORDER[name] for name in ("title", "software_type")}),
    (schema.Format, {**FORMAT, "compute_partition_list": [{"ip_list": []}]}),
    (schema.Format, {**FORMAT, "compute_partition_list": [{"partition_id": "a", "ip_list": [{}]}]}),
    (schema.Format, {**FORMAT, "compute_partition_list": [{"partition_id": 1}]}),
    (schema.Format, {**FORMAT, "compute_partition_list": {}}),
    (schema.Format, {**FORMAT, "address": "::1"}),
    (schema.InstallationReported, {"computer_guid": "C", "software_release_uri": "x", "reported_state": "error"}),
    (schema.InstanceReported, {"instance_guid": "I", "reported_state": "instantiating"}),
]


@pytest.mark.parametrize(("model", "body"), GOOD)
def test_this_is_taken(model: type[schema.Asked], body: dict[str, Any]) -> None:
    model.model_validate_json(json.dumps(body))


@pytest.mark.parametrize(("model", "body"), BAD)
def test_this_is_not(model: type[schema.Asked], body: object) -> None:
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps(body))
