"""What kind of machine this is."""

import sys
from collections.abc import Mapping

import pytest

from slap.cache.trust.cache_key import CacheKey, release_folder
from slap.cache.trust.platform import this_platform, version_of
from slap.model.cache import EntryKind
from tests.unit.cache.trust_world import NOW, PLATFORM, QUESTION


def test_this_machine_is_of_some_kind() -> None:
    found = this_platform()
    assert found == this_platform()
    assert found.machine and found.libc != "unknown"
    assert found.python.split()[:2] == [sys.implementation.cache_tag, sys.executable]
    assert found.machine in str(found)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ({"VERSION_ID": "12", "VERSION_CODENAME": "bookworm"}, "12"),
        ({"VERSION_CODENAME": "forky"}, "forky"),
        ({"BUILD_ID": "rolling"}, "rolling"),
        ({}, ""),
    ],
)
def test_a_system_without_a_number_has_a_name(release: Mapping[str, str], version: str) -> None:
    assert version_of(release) == version


def test_a_release_is_in_the_folder_where_slapos_has_it() -> None:
    assert release_folder("http://example.com/software.cfg") == QUESTION_FOLDER
    assert QUESTION.name == release_folder(QUESTION.key)


def test_questions_are_the_same_at_any_time() -> None:
    assert QUESTION.id == CacheKey(QUESTION.key, QUESTION.root, PLATFORM, NOW + 1).id
    others = {
        QUESTION.id,
        CacheKey("x", QUESTION.root, PLATFORM, NOW).id,
        CacheKey(QUESTION.key, "/x", PLATFORM, NOW).id,
        CacheKey(QUESTION.key, QUESTION.root, PLATFORM, NOW, EntryKind.PART).id,
        CacheKey(QUESTION.key, QUESTION.root, PLATFORM, NOW, folder="x").id,
    }
    assert len(others) == 5


QUESTION_FOLDER = "91d5c3732524c019b6f1d313793d8809"
