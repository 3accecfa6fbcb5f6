"""JSON-RPC as SlapOS describes it: how its methods are called, and the draft-7 schemas of what they answer."""

import json
from typing import Any

from jsonschema_rs import Draft7Validator

from slap.system.transport import HttpTransport
from tests.contract.master.world import World

TEXT = {"type": "string"}
OBJECT = {"type": "object"}
STATE = {"type": "string", "enum": ["started", "stopped", "destroyed"]}
ADDRESSES = {"type": "array", "items": {"type": "array", "items": TEXT}}
INSTANCE_FIELDS: dict[str, Any] = {
    "title": TEXT,
    "instance_guid": TEXT,
    "software_release_uri": TEXT,
    "software_type": TEXT,
    "state": STATE,
    "connection_parameters": OBJECT,
    "parameters": OBJECT,
    "shared": {"type": "boolean"},
    "root_instance_title": TEXT,
    "ip_list": ADDRESSES,
    "full_ip_list": ADDRESSES,
    "sla_parameters": OBJECT,
    "computer_guid": TEXT,
    "compute_partition_id": TEXT,
    "processing_timestamp": {"type": "integer"},
    "access_status_message": TEXT,
}


def _exactly(fields: dict[str, Any], *required: str, more: bool = False) -> dict[str, Any]:
    names = list(required or fields)
    return {"type": "object", "properties": fields, "required": names, "additionalProperties": more}


def _list_of(fields: dict[str, Any], *required: str) -> dict[str, Any]:
    return _exactly({"result_list": {"type": "array", "items": _exactly(fields, *required)}})


OK = _exactly({"type": {"type": "string", "const": "success"}, "title": TEXT})
PAIR = _exactly({"key": TEXT, "certificate": TEXT})
INSTANCE = _exactly(INSTANCE_FIELDS)
_LISTED = {name: INSTANCE_FIELDS[name] for name in ("instance_guid", "title", "state")}
_PLACE = {"compute_partition_id": TEXT, "software_release_uri": TEXT}
_SERVED = {**_LISTED, "software_type": TEXT, "parameters": OBJECT}
_SUPPLY_STATE = {"type": "string", "enum": ["available", "destroyed"]}

ANSWERS: dict[str, dict[str, Any]] = {
    "allDocs.v0.compute_node_instance_list": _list_of({**_LISTED, **_PLACE}, *_LISTED),
    "allDocs.v0.compute_node_software_installation_list": _list_of(
        {"software_release_uri": TEXT, "state": _SUPPLY_STATE}
    ),
    "allDocs.v0.instance_node_instance_list": _list_of({**_SERVED, **_PLACE}, *_SERVED),
    "allDocs.v0.instance_tree_list": _list_of({"title": TEXT}),
    "get.v0.compute_node_status": _exactly({"text": TEXT}, more=True),
    "get.v0.compute_partition": INSTANCE,
    "get.v0.hateoas_url": _exactly({"hateoas_url": TEXT}),
    "get.v0.instance_tree": INSTANCE,
    "get.v0.software_instance": INSTANCE,
    "get.v0.software_instance_certificate": PAIR,
    "post.v0.compute_node_certificate": PAIR,
    "post.v0.compute_node_usage": OK,
    "post.v0.software_installation": OK,
    "post.v0.software_instance": INSTANCE,
    "put.v0.compute_node_bang": OK,
    "put.v0.compute_node_format": OK,
    "put.v0.software_installation_error": OK,
    "put.v0.software_installation_reported_state": OK,
    "put.v0.software_instance_bang": OK,
    "put.v0.software_instance_connection_parameter": OK,
    "put.v0.software_instance_error": OK,
    "put.v0.software_instance_reported_state": OK,
    "put.v0.software_instance_title": OK,
    "remove.v0.compute_node_certificate": OK,
}
FAILURE = _exactly({"status": {"type": "integer"}, "type": TEXT, "title": TEXT})


class Rpc:
    """Calls methods with a token; what comes back is checked against its schema."""

    def __init__(self, world: World, token: str) -> None:
        self.token = token
        self._address = world.address
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._transport = HttpTransport()

    def call(self, method: str, **body: Any) -> Any:
        status, document = self.send(method, json.dumps(body).encode())
        assert status == 200, document
        Draft7Validator(ANSWERS[method]).validate(document)
        return document

    def refused(self, method: str, status: int, /, **body: Any) -> str:
        """Why a method does not do it; the status is what it must be."""
        found, document = self.send(method, json.dumps(body).encode())
        Draft7Validator(FAILURE).validate(document)
        assert (found, document["status"]) == (status, status), document
        return str(document["title"])

    def send(self, method: str, body: bytes | None, verb: str = "POST", **headers: str) -> tuple[int, Any]:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self._address}/slapos.{method}"
        reply = self._transport.send(verb, url, self._headers | more, body, 30)
        return reply.status, json.loads(reply.body)
