"""Real clouds for the system tests."""

from collections.abc import Iterator

import pytest

from tests.system.cloud import Cloud, small_cloud


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One cloud for the tests of a module, which order under names of their own."""
    with small_cloud() as made:
        yield made
