"""What tests of the cache share, wherever they are."""

from collections.abc import Iterator

import pytest

from tests.unit.cache.crooked import CrookedCache, crooked_cache


@pytest.fixture
def shop() -> Iterator[CrookedCache]:
    """A cache that has nothing yet."""
    with crooked_cache() as made:
        yield made
