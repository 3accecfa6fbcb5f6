"""Whatever goes wrong is one ErrorDocument: all that is wrong with an input at once, never a traceback."""

import json

import pytest

from slap.model.errors import ErrorDocument, Unauthenticated
from slap.system.transport import HttpTransport
from tests.contract.master.world import World

GOOD = {"reference": "a", "software_release": "/x/software.cfg"}
CASES: list[tuple[str, str, object, int, str]] = [
    ("GET", "/nowhere", None, 404, "GET /api/v1/nowhere"),
    ("DELETE", "/instances", None, 404, "DELETE /api/v1/instances"),
    ("POST", "/instances", {**GOOD, "state": "runing", "colour": 1}, 400, "state: Input should be 'started'"),
    ("POST", "/instances", {**GOOD, "state": "runing", "colour": 1}, 400, "colour: Extra inputs"),
    ("POST", "/instances", {"reference": "../x"}, 400, "software_release: Field required"),
    ("POST", "/instances", "{", 400, "JSON"),
    ("POST", "/instances", [], 400, "should be an object"),
    ("GET", "/instances/x/tree?since=abc", None, 400, "since: Input should be a valid integer"),
    ("GET", "/computers/%2e%2e%2f/state", None, 404, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "words"), CASES)
def test_bad_input_is_explained(world: World, method: str, path: str, body: object, status: int, words: str) -> None:
    data = body if isinstance(body, str) else json.dumps(body)
    headers = {"Authorization": world.token, "Content-Type": "application/json"}
    url = f"{world.address}/api/v1{path}"
    reply = HttpTransport().send(method, url, headers, data.encode() if body is not None else None, 10)
    document = ErrorDocument.model_validate_json(reply.body)
    assert reply.status == status
    assert words in f"{document.brief} {document.details}"


@pytest.mark.parametrize("token", ["", "x", "user:x", "partition:INST-1:00", "partition:", "computer:\xe9"])
def test_a_wrong_token_opens_nothing(world: World, token: str) -> None:
    with pytest.raises(Unauthenticated):
        world.speaking(token).instances()


def test_the_api_describes_itself_and_says_that_it_is_well_without_a_token(world: World) -> None:
    transport = HttpTransport()
    assert json.loads(transport.send("GET", f"{world.address}/health", {}, None, 10).body) == {"status": "ok"}
    document = json.loads(transport.send("GET", f"{world.address}/api/v1/openapi.json", {}, None, 10).body)
    answers = document["paths"]["/api/v1/instances"]["post"]["responses"]
    assert answers["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Instance"}
    assert "ErrorDocument" in document["components"]["schemas"]
