"""Real clouds for the system tests."""

from collections.abc import Iterator

import pytest

from tests.system.cloud import Cloud, small_cloud

# What takes longest begins first: a long file that begins last is waited for by all others.
_LONGEST = (
    "test_replace_slapos",
    "test_vm",
    "test_vm_cluster",
    "test_interop",
    "test_guest_reach",
    "test_vm_life",
    "test_slapos_profile",
    "test_redis_order",
    "test_chaos",
    "test_tls",
    "test_proxy",
    "test_cache_server",
    "test_slapproxy_peer",
    "test_node_commands",
    "test_software_recipes",
    "test_cache",
    "test_bad_input",
    "test_node_managers",
    "test_order",
    "test_image",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One cloud for the tests of a module, which order under names of their own."""
    with small_cloud() as made:
        yield made
