"""Real clouds for the system tests."""

from collections.abc import Iterator

import pytest

from tests.system.cloud import Cloud, small_cloud

# What takes longest begins first: a long file that begins last is waited for by all others.
_LONGEST = (
    "test_replace_slapos",
    "test_guest_reach",
    "test_vm_life",
    "test_vm",
    "test_vm_cluster",
    "test_image",
    "test_chaos",
    "test_two_nodes",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One cloud for the tests of a module, which order under names of their own."""
    with small_cloud() as made:
        yield made
