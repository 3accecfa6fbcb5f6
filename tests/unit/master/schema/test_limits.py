"""Schemas are limited before they are used, and those that may be used in the master itself are told from the others."""

import json
import math
from typing import Any

import pytest

from slap.master.schema.limits import SchemaLimits, check_limits, cost_of_schema, size_of_value
from slap.model.errors import BrokenRelease

LIMITS = SchemaLimits(size=20_000, depth=20, parts=500, references=50)


def _nested(times: int) -> Any:
    return json.loads('{"not":' * times + "{}" + "}" * times)


def _chain(links: int, fan: int = 1) -> dict[str, Any]:
    """References from one definition to the next, `fan` times each."""
    links_of = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * fan} for n in range(links)}
    return {"$defs": {**links_of, f"d{links}": {"type": "string"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"title": "x" * 30_000}, "30012 bytes"),
        (_nested(21), "in each other more than 20 times"),
        (_nested(600), "in each other more than 20 times"),
        ({"allOf": [{} for _ in range(500)]}, "501 objects"),
        ({"allOf": [{"$ref": "#/$defs/a"} for _ in range(51)], "$defs": {"a": {}}}, "51 references"),
        ({"$ref": "#"}, "# -> #"),
        (
            {"$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}, "$ref": "#/$defs/x"},
            "#/$defs/x -> #/$defs/y",
        ),
        ({"definitions": {"a": {"allOf": [{"$ref": "#/definitions/a"}]}}}, "#/definitions/a"),
        ({"if": {"not": {"anyOf": [{"$ref": "#"}]}}}, "#/if/not"),
        ({"dependencies": {"a": {"$ref": "#"}}}, "#/dependencies/a"),
        ({"$defs": {"a/b": {"oneOf": [{"$ref": "#/$defs/a~1b"}]}}}, "#/$defs/a/b"),
        ({"items": [{"$ref": "#/items/0"}]}, "#/items/0"),
    ],
)
def test_a_schema_beyond_the_limits_or_without_an_end_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(BrokenRelease) as caught:
        check_limits(schema, "in.json", LIMITS)
    assert reason in caught.value.details
    assert caught.value.brief.startswith("in.json ")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        _nested(18),
        _chain(12),
        {"properties": {"child": {"$ref": "#"}, "$ref": {"type": "string"}}},
        {"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#/items"}},
        {"$ref": "#/none", "enum": [1, None, "x"]},
    ],
)
def test_a_schema_that_has_an_end_is_taken(schema: dict[str, Any]) -> None:
    check_limits(schema, "in.json", LIMITS)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^a+$"},
        {"properties": {"a": {"patternProperties": {"a": {}}}}},
        {"properties": {"a": {"uniqueItems": True}}},
        {"multipleOf": 1e-300},
        {"unevaluatedProperties": False},
        {"$dynamicRef": "#x"},
        {"properties": {"child": {"$ref": "#"}}},
        {"$ref": "#/none"},
        {"$ref": "other.json"},
        {"properties": {"a": {"$id": "b", "$ref": "#/properties"}}},
        _chain(100),
        _nested(100),
    ],
)
def test_what_needs_a_trial_is_not_tried_in_the_master(schema: dict[str, Any]) -> None:
    assert cost_of_schema(schema) == math.inf


def test_cost_counts_what_references_refer_to_each_time() -> None:
    assert cost_of_schema({"type": "object", "properties": {"port": {"type": "integer"}}}) < 10
    assert 4**7 < cost_of_schema(_chain(7, fan=4)) < math.inf
    assert cost_of_schema({"enum": ["x" * 64_000]}) > 1000


def test_size_counts_parts_and_long_texts() -> None:
    assert size_of_value({"a": [1, 2], "b": "x"}) == 5
    assert size_of_value("x" * 64_000) == size_of_value({"x" * 64_000: 1}) - 1 == 1001
