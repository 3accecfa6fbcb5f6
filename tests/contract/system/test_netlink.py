"""Interfaces and addresses: the same whether they are the kernel's, in a namespace of the test's own, or in memory."""

from collections.abc import Iterator

import pytest

from slap.model.errors import CommandFailed, NotFound
from slap.system import environment
from slap.system.network.netlink import FakeNetwork, KernelNetwork, Link, Network
from tests.system.namespaces import a_namespace

KINDS = ["fake", *(["kernel"] if environment.is_root() else [])]


@pytest.fixture(params=KINDS)
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    if request.param == "fake":
        yield FakeNetwork(interfaces={"lo": Link(is_up=True)})
        return
    with a_namespace() as namespace, namespace.inside():
        yield KernelNetwork()


def test_addresses_come_and_go(network: Network) -> None:
    for _ in range(2):
        network.add("lo", "10.99.0.1/32")
        network.add("lo", "2001:db8::1/128")
    assert {"10.99.0.1/32", "2001:db8::1/128"} <= network.addresses("lo")
    for _ in range(2):
        network.remove("lo", "10.99.0.1/32")
    assert "10.99.0.1/32" not in network.addresses("lo")


def test_a_tap_belongs_to_its_owner_and_is_a_port_of_its_bridge(network: Network) -> None:
    for _ in range(2):
        network.add_bridge("slapbr0")
        network.add_tap("slaptap0", 4711, "slapbr0")
        network.add_tap("slaptap1", 4712)
    links = network.links()
    assert links["slaptap0"] == Link("tap", 4711, "slapbr0", is_up=True)
    assert links["slaptap1"] == Link("tap", 4712, is_up=True)
    assert (links["slapbr0"].kind, links["slapbr0"].is_up, links["lo"].kind) == ("bridge", True, "")
    for _ in range(2):
        network.delete_link("slaptap0")
        network.delete_link("slapbr0")
    assert set(network.links()) == {"lo", "slaptap1"}


if environment.is_root():

    def test_what_the_kernel_refuses_is_told() -> None:
        with a_namespace() as namespace, namespace.inside():
            with pytest.raises(CommandFailed, match="a-name-that-is-too-long"):
                KernelNetwork().add_bridge("a-name-that-is-too-long")
            with pytest.raises(NotFound, match="nowhere0"):
                KernelNetwork().addresses("nowhere0")
