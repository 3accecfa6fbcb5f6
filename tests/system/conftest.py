"""Real clouds for the system tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.system.cloud import Cloud, small_cloud

# What takes longest begins first: what is long and begins last is waited for by all others.
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


# Files whose tests share nothing: any process may run any of them.
_DIVIDED = ("test_cache_server", "test_image", "test_node_builder", "test_software_recipes")


class _Units(LoadFileScheduling):
    """Like `--dist loadfile`, but for files that can be divided, and with each of the two nodes of test_interop by itself."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        if Path(path).stem in _DIVIDED:
            return nodeid
        return f"{path} {test.partition('[')[2]}" if Path(path).stem == "test_interop" else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _Units(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One cloud for the tests of a module, which order under names of their own."""
    with small_cloud() as made:
        yield made
