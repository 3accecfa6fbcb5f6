"""Many machines by one order, on two computers: each with users for its partitions, addresses, and a firewall."""

import json
from collections import Counter

from slap.system import environment
from tests.system.machines import KVM, Guests, make_key
from tests.system.tiny import tiny_image
from tests.system.two_nodes import Cluster, Wanted, two_nodes

# Two on each computer. Twenty are what bench/vm orders.
MACHINES = 4

if environment.is_root():

    def test_one_order_puts_machines_on_both_computers_and_all_answer() -> None:
        partitions = MACHINES // 2 + 1  # the order itself takes one
        with two_nodes(Wanted(partitions, users=True, release=KVM)) as cluster:
            for node in cluster.nodes:
                node.cloud.slapos("image", "add", str(tiny_image()), "--name", "tiny")
            guests = Guests(cluster.master, make_key(cluster.master.folder))
            machines = _order(cluster, guests)
            assert {name: each["hostname"] for name, each in machines.items()} == {
                f"vm-{number}": f"vm-{number}" for number in range(1, MACHINES + 1)
            }
            for name, each in machines.items():
                assert guests.run(each["ssh-command"], "hostname", cluster.namespace.prefix) == name
            assert sorted(_places(cluster).values()) == [MACHINES // 2, MACHINES // 2 + 1]
            cluster.master.slapos("service", "destroy", "many")

    def _order(cluster: Cluster, guests: Guests) -> dict[str, dict[str, str]]:
        machine = {"image": "tiny", "ram": "96 MiB", "ssh-keys": [guests.public_key], "stop-timeout": 10}
        words = ("--type", "kvm-cluster", "--parameters", json.dumps({"count": MACHINES, "machine": machine}))
        cluster.master.slapos("request", "many", str(KVM), *words, "--timeout", "300", timeout=320)
        found = cluster.master.slapos("service", "info", "many", "-f", "json").json["connection"]["machines"]
        assert isinstance(found, dict)
        return found

    def _places(cluster: Cluster) -> Counter[str]:
        """How many instances of the order are on each computer."""
        with cluster.inside():
            master = cluster.master.master()
            tree = master.tree(master.instances("many")[0].guid).instances
        return Counter(each.computer for each in tree)
