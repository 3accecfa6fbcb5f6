"""What can be kept everywhere, and what is refused in words that name the place."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from slap.model.certificate import CertificateRequest
from slap.model.errors import SlapError
from slap.model.node import DesiredSupply, InstanceReport, LogAnswer, SupplyReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.model.usage import Usage
from slap.model.values import (
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_LOG_LENGTH,
    MAX_MESSAGE_LENGTH,
    MAX_VALUES_SIZE,
    STORED,
    Line,
    Parameters,
    Text,
    Word,
    escape_controls,
    storable,
    unstorable_value,
)

PARAMETERS: TypeAdapter[dict[str, Any]] = TypeAdapter(Parameters)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED: list[tuple[Any, str]] = [
    (2**63, "a: an integer of more than 64 bits"),
    (-(2**63) - 1, "a: an integer"),
    (10**400, "a: an integer"),
    (math.nan, "a: a number that is not finite"),
    (-math.inf, "a: a number"),
    ([None, math.inf], r"a\.1: a number"),
    ("x\0", r"a: a text with U\+0000"),
    ("x\ud800", r"a: a text with U\+D800"),
    ({"b": [1, {"c": 10**30}]}, r"a\.b\.1\.c: an integer"),
    ({"\0": 1}, r"a\.\ufffd: its name is a text with U\+0000"),
    ({"\udc80": 1}, r"its name is a text with U\+DC80"),
    ({"x\x1b[31m": 10**30}, r"a\.x\\x1b\[31m: an integer"),
    (nested(MAX_DEPTH), "more than 64 deep"),
    ("x" * MAX_VALUES_SIZE, "larger than"),
    (["x" * 1000] * 2000, "larger than"),
    ([0] * 200_000, "larger than"),
    ([[0] * 400] * 400, "larger than"),
    ({1: 2}, "its name is not a text"),
    ({1, 2}, "a set, which JSON does not have"),
    ([[1]] * 70 + [nested(MAX_DEPTH - 1)], "more than 64 deep"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_a_value_that_cannot_be_kept_is_refused_with_its_place(value: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PARAMETERS.validate_python({"a": value})
    assert PARAMETERS.validate_python({"a": value}, context=STORED) == {"a": value}


@pytest.mark.parametrize(
    "value",
    [
        MAX_INTEGER,
        -MAX_INTEGER - 1,
        -0.0,
        1e308,
        None,
        True,
        "\x01\ufffe😀",
        nested(MAX_DEPTH - 1),
        r"\u0000",
        [None, "NaN"],
        [[1]] * 70,
    ],
)
def test_what_can_be_kept_stays_as_it_is(value: Any) -> None:
    assert repr(PARAMETERS.validate_python({"a": value})) == repr({"a": value})


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Text, "\0"),
        (Text, "\ud800"),
        (Line, "a\nb"),
        (Line, "\x7f"),
        (Line, "a" * 2001),
        (Word, "a/b"),
        (Word, "\\"),
        (Word, "\x1b"),
    ],
)
def test_a_text_is_refused(kind: Any, text: str) -> None:
    with pytest.raises(ValidationError, match="a text"):
        TypeAdapter(kind).validate_python(text)


def test_what_programs_print_is_kept_as_far_as_it_can_be() -> None:
    failed = InstanceReport(guid="i", state=ReportedInstanceState.ERROR, message="a\0\ud800" + "x" * MAX_MESSAGE_LENGTH)
    assert failed.message.startswith("a\ufffd\ufffdx")
    assert len(failed.message) == MAX_MESSAGE_LENGTH
    built = SupplyReport(url="u", state=ReportedSupplyState.ERROR, log="x" * MAX_LOG_LENGTH + "end")
    assert built.log.endswith("end")
    assert len(built.log) == MAX_LOG_LENGTH
    assert LogAnswer(id="1", text="\0").text == "\ufffd"


@pytest.mark.parametrize("field", ["seconds", "cpu", "memory"])
@pytest.mark.parametrize("value", [-1, math.inf, math.nan, 10**30])
def test_an_amount_is_finite_and_of_64_bits(field: str, value: float) -> None:
    if field != "memory" and value == 10**30:
        return
    with pytest.raises(ValidationError, match=field):
        Usage.model_validate({"start": "2026-01-01T00:00:00Z", "seconds": 1, field: value})


def test_an_error_shows_no_control_characters() -> None:
    error = SlapError("no \x1b[31m", "a\r\nb\u202e", "\ud800")
    assert (error.brief, error.details, error.resolution) == ("no \\x1b[31m", "a\\r\nb\\u202e", "\\ud800")


_TEXTS = st.text(st.characters(exclude_categories=())) | st.text(st.sampled_from("\0\ud800\x1b\n/a"))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_TEXTS, _VALUES, max_size=3))
def test_what_is_taken_can_be_written_as_json(values: dict[str, Any]) -> None:
    """And read again as it was, by UTF-8 and without NaN."""
    if not unstorable_value(values):
        document = TypeAdapter(dict[str, Any]).dump_json(values)
        assert b"NaN" not in document or "NaN" in repr(values)
        assert repr(TypeAdapter(dict[str, Any]).validate_json(document)) == repr(values)


@given(_TEXTS)
def test_a_storable_text_is_taken(text: str) -> None:
    assert TypeAdapter(Text).validate_python(storable(text)) == storable(text)
    assert escape_controls(text).encode().decode() == escape_controls(text)


def test_a_field_keeps_its_own_limits_beside() -> None:
    with pytest.raises(ValidationError, match="at most 16384 characters"):
        CertificateRequest(request="x" * 16_385)
    with pytest.raises(ValidationError, match="url"):
        DesiredSupply.model_validate({"url": "", "state": "available", "revision": 1})
