"""Errors survive the way over the wire."""

import pytest

from slap.model import errors
from slap.model.errors import ErrorDocument, SlapError, from_document


def _family(kind: type[SlapError]) -> list[type[SlapError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in _family(child))]


KINDS = [kind for kind in _family(SlapError) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_arrives_as_it_was_sent(kind: type[SlapError]) -> None:
    sent = kind("It broke.", "Because of x.", "Try y.").document().model_dump_json()
    arrived = from_document(ErrorDocument.model_validate_json(sent))
    assert type(arrived) is kind
    assert (arrived.brief, arrived.details, arrived.resolution) == ("It broke.", "Because of x.", "Try y.")


def test_kinds_are_distinct() -> None:
    assert len({kind.kind for kind in KINDS}) == len(KINDS) > 10


def test_a_kind_from_a_newer_master_is_still_an_error() -> None:
    arrived = from_document(ErrorDocument(kind="from-the-future", brief="It broke."))
    assert type(arrived) is SlapError
    assert arrived.brief == "It broke."


@pytest.mark.parametrize(
    ("kind", "code"), [("usage", 2), ("not-ready", 3), ("cannot-be-placed", 4), ("not-found", 1), ("invalid-input", 1)]
)
def test_exit_codes_are_those_of_the_contract(kind: str, code: int) -> None:
    assert from_document(ErrorDocument(kind=kind, brief="No.")).exit_code == code


def test_people_read_what_why_and_what_next_without_empty_lines() -> None:
    assert str(SlapError("What.", "", "Next.")) == "What.\nNext."
