"""Parameters against schemas: all that is wrong at once."""

import asyncio
from typing import Any

import pytest

from slap.master.schema.limits import SchemaLimits
from slap.master.schema.parameters import KnownRelease, check_parameters, check_schema, with_effects
from slap.master.schema.validation import SchemaChecks, SchemaSettings
from slap.master.schema.worker import Validators, answer
from slap.model.errors import BrokenRelease, InvalidParameters
from slap.model.instance import FieldChange, InstanceRequest
from slap.model.software import SoftwareRelease, SoftwareType

PORT = {"type": "object", "properties": {"port": {"type": "integer", "minimum": 1}}, "required": ["port"]}


def _release(schema: dict[str, Any]) -> KnownRelease:
    release = SoftwareRelease(url="/x", types={"default": SoftwareType(parameters_schema=schema)})
    return KnownRelease(release.model_dump_json())


class _Worker:
    """Checks in this process."""

    async def check(self, job: bytes) -> bytes:
        return answer(Validators(), job)

    def is_alive(self) -> bool:
        return True

    def end(self) -> None:
        """There is no process."""


async def _start(settings: SchemaSettings) -> _Worker:
    return _Worker()


def _check(known: KnownRelease, software_type: str, parameters: dict[str, Any]) -> None:
    order = InstanceRequest(reference="one", software_release="/x", software_type=software_type, parameters=parameters)
    asyncio.run(check_parameters(SchemaChecks(SchemaSettings(), _start), "user:alice", known, order))


@pytest.mark.parametrize(
    ("schema", "parameters", "lines"),
    [
        ({}, {"anything": 1}, []),
        (PORT, {"port": 80}, []),
        (PORT, {}, ['$: "port" is a required property']),
        (PORT, {"port": 0}, ["$.port: 0 is less than the minimum of 1"]),
        (
            {"properties": {"a": {"type": "string"}, "b": {"items": {"type": "string"}}}},
            {"a": 1, "b": ["x", 2]},
            ['$.a: 1 is not of type "string"', '$.b[1]: 2 is not of type "string"'],
        ),
        (
            {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {},
            [
                '  $: "a" is a required property',
                '  $: "b" is a required property',
                "$: {} is not valid under any of the schemas listed in the 'oneOf' keyword",
            ],
        ),
        # Drafts differ: in draft 2020-12 the place of an item is said by prefixItems.
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "properties": {"a": {"prefixItems": [{"type": "string"}]}},
            },
            {"a": [1]},
            ['$.a[0]: 1 is not of type "string"'],
        ),
    ],
)
def test_every_violation_is_a_line_with_its_place(
    schema: dict[str, Any], parameters: dict[str, Any], lines: list[str]
) -> None:
    if not lines:
        _check(_release(schema), "default", parameters)
        return
    with pytest.raises(InvalidParameters) as caught:
        _check(_release(schema), "default", parameters)
    assert sorted(caught.value.details.splitlines()) == sorted(lines)


def test_a_release_without_types_takes_any_type_and_any_parameters() -> None:
    _check(KnownRelease(SoftwareRelease(url="/x").model_dump_json()), "whatever", {"a": 1})


def test_an_unknown_type_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BrokenRelease) as caught:
        _check(_release(PORT), "defualt", {"port": 1})
    assert caught.value.details == "Its types: default."
    assert caught.value.resolution == "Did you mean default?"


def test_a_schema_cannot_make_the_master_fetch_anything() -> None:
    with pytest.raises(BrokenRelease, match="Retrieval is disabled"):
        _check(_release({"$ref": "http://127.0.0.1:1/schema.json"}), "default", {})


def test_what_is_no_schema_is_refused_by_its_name() -> None:
    with pytest.raises(BrokenRelease) as caught:
        check_schema({"properties": {"a": {"type": 3}}}, "input.json", SchemaLimits())
    assert "input.json is not a valid JSON Schema" in caught.value.brief
    assert caught.value.details.startswith("$.properties.a.type")


def test_a_schema_says_what_a_change_does() -> None:
    said = {"port": {"x-effect": "live"}, "disk": {"x-effect": "restart"}, "name": {}, "odd": {"x-effect": 1}, "bad": 7}
    known = _release({"type": "object", "properties": said})
    fields = ("parameters.port", "parameters.disk.size", "parameters.name", "parameters.odd", "parameters.bad", "state")
    changes = with_effects(known, "default", [FieldChange(field=field) for field in fields])
    assert [each.effect for each in changes] == ["live", "restart", "", "", "", ""]


@pytest.mark.parametrize(
    ("schema", "parameters", "is_taken"),
    [
        (PORT, {"port": 80}, True),
        (PORT, {"port": 0}, False),  # a worker says why
        ({"additionalProperties": {"allOf": [{}] * 900}}, {str(number): number for number in range(900)}, False),
        ({"properties": {"a": {"pattern": "^a$"}}}, {"a": "a"}, False),
        ({"properties": {"child": {"$ref": "#"}}}, {}, False),
        ({"type": "nothing"}, {}, False),
    ],
)
def test_only_what_is_valid_by_a_schema_of_small_cost_is_taken_without_a_worker(
    schema: dict[str, Any], parameters: dict[str, Any], is_taken: bool
) -> None:
    known = _release(schema).schema("default")
    assert known is not None
    assert known.takes(parameters) is is_taken


def test_a_pattern_is_not_even_compiled_in_the_master() -> None:
    schema = _release({"properties": {"a": {"pattern": "^a$"}}}).schema("default")
    assert schema is not None
    assert schema.validator is None


def test_what_is_said_of_parameters_is_short_and_does_nothing_to_a_terminal() -> None:
    schema = {"additionalProperties": {"type": "string", "pattern": "^a$"}}
    with pytest.raises(InvalidParameters) as caught:
        _check(_release(schema), "default", {f"{number}\x1b": "\x9b" * 9000 for number in range(99)})
    lines = caught.value.details.splitlines()
    assert (len(lines), "".join(lines).isprintable()) == (50, True)
    assert max(map(len, lines)) < 310
