import json

import pytest

from slap.model.serialisation import Serialisation, unwrap, wrap

NONE, FLAT, JSON = Serialisation.NONE, Serialisation.FLAT, Serialisation.JSON


@pytest.mark.parametrize(
    "came, plain, form",
    [
        ({}, {}, NONE),
        ({"port": "80"}, {"port": "80"}, NONE),
        ({"port": 80}, {"port": 80}, FLAT),
        ({"_": '{"port": 80}'}, {"port": 80}, JSON),
        ({"_": "{}"}, {}, JSON),
        # None of these is the JSON text of an object, and nothing else.
        ({"_": "[1]"}, {"_": "[1]"}, NONE),
        ({"_": "{port"}, {"_": "{port"}, NONE),
        ({"_": "[" * 100_000}, {"_": "[" * 100_000}, NONE),
        ({"_": '{"port": 80}', "more": "x"}, {"_": '{"port": 80}', "more": "x"}, NONE),
        ({"_": {"port": 80}}, {"_": {"port": 80}}, FLAT),
    ],
)
def test_what_came_is_kept_plain(came: dict[str, object], plain: dict[str, object], form: Serialisation) -> None:
    assert unwrap(came) == (plain, form)


@pytest.mark.parametrize(
    "plain, forms, flat",
    [
        ({"a": "b"}, (NONE, NONE), {"a": "b"}),
        ({"a": "b"}, (JSON, FLAT), None),
        ({"a": "b"}, (NONE, JSON), None),
        ({"a": "b"}, (FLAT, JSON), {"a": "b"}),
        ({"a": 1}, (NONE, NONE), None),
        ({"a": 1, "b": True, "c": ["d"]}, (NONE, FLAT), {"a": "1", "b": "true", "c": '["d"]'}),
        ({}, (NONE, NONE), {}),
        ({}, (JSON,), None),
        # Wrapped already, in what is not an object: not once more.
        ({"_": "[1]"}, (JSON,), {"_": "[1]"}),
    ],
)
def test_what_is_given_out_is_in_the_form_that_is_expected(
    plain: dict[str, object], forms: tuple[Serialisation, ...], flat: dict[str, str] | None
) -> None:
    given = wrap(plain, *forms)
    assert given == flat if flat is not None else json.loads(given["_"]) == plain


@pytest.mark.parametrize("came", [{"a": "b"}, {"_": '{"a": 1}'}, {"_": "[1]"}, {"_": "{}"}])
def test_what_came_goes_out_as_it_came(came: dict[str, str]) -> None:
    plain, form = unwrap(came)
    assert wrap(plain, NONE, form) == came


def test_equal_objects_are_given_out_as_equal_text() -> None:
    assert wrap({"a": 1, "b": 2}) == wrap({"b": 2, "a": 1})
