"""What tests of the cache share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cache.trust_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node that trusts the key `builder`."""
    made = World(tmp_path)
    made.trust()
    yield made
    made.store.close()
