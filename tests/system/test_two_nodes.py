"""Two nodes whose partitions reach each other over the network, and no more of each other than that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from slap.system import environment
from tests.interpreter import PYTHON
from tests.system.cloud import eventually, release
from tests.system.test_node_managers import reaches
from tests.system.two_nodes import Cluster, ClusterNode, Wanted, two_nodes

PROFILE = f"""\
[buildout]
parts = web publish
[conf]
recipe = slap:slapconfiguration
[port]
recipe = slap:free-port
[web]
recipe = slap:service
command-line = {PYTHON} -m http.server ${{port:port}} --bind ${{conf:ipv6}}
[publish]
recipe = slap:publish
address = ${{conf:ipv6}}
private = ${{conf:ipv4}}
port = ${{port:port}}
"""
_CONNECT = """
import socket, sys
caller = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
caller.settimeout(3)
print(caller.connect_ex((sys.argv[1], int(sys.argv[2]))))
"""


if environment.is_root():

    @pytest.fixture(scope="module")
    def cluster() -> Iterator[Cluster]:
        with two_nodes(Wanted(users=True)) as made:
            yield made

    def order(cluster: Cluster, url: Path, name: str, node: ClusterNode) -> tuple[str, int]:
        cluster.master.slapos("request", name, str(url), "--computer", node.guid)
        with cluster.inside():
            found = cluster.master.master().instances(name)[0].connection
        return str(found["address"]), int(found["port"])

    def connects(node: ClusterNode, number: int, address: str, port: int) -> bool:
        """Whether the user of a partition gets there."""
        user = node.user(number)
        return node.namespace.words(PYTHON, "-I", "-c", _CONNECT, address, str(port), user=user).stdout.strip() == "0"

    def test_partitions_of_two_nodes_reach_what_each_other_publishes_and_nothing_else(cluster: Cluster) -> None:
        url = release(cluster.master.folder / "release", PROFILE)
        cluster.supply(url)
        first, second = cluster.nodes
        here, there = order(cluster, url, "here", first), order(cluster, url, "there", second)
        with cluster.inside():
            assert reaches(*here) and reaches(*there)
        assert connects(first, 0, *there) and connects(second, 0, *here)
        assert connects(first, 1, *here)
        master = (cluster.namespace.ipv6, 5000)
        assert connects(first, 0, *master)
        with first.namespace.background(PYTHON, "-m", "http.server", "8000", "--bind", "127.0.0.1"):
            eventually(lambda: connects_as_root(first, "127.0.0.1", 8000))
            assert not connects(first, 0, "127.0.0.1", 8000)
        cluster.master.slapos("service", "destroy", "here")
        assert not connects(second, 0, *here)

    def connects_as_root(node: ClusterNode, address: str, port: int) -> bool:
        return node.namespace.words(PYTHON, "-I", "-c", _CONNECT, address, str(port)).stdout.strip() == "0"
