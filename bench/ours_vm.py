"""Our side of bench/vm, as a program: a master and two nodes, each a network namespace, and one order of many machines."""

import json
import subprocess
import sys
import time

from vm_crew import MEMORY, Address, serve, wait_for_greetings

from tests.system.machines import KVM, make_key
from tests.system.tiny import tiny_image
from tests.system.two_nodes import Cluster, Wanted, two_nodes
from tests.system.typed import SLAPOS

_NAME = "many"
_SSH = 10022
_FIRST = 2  # the number of the first partition's address in its network


class Order:
    """The machines of a cluster."""

    def __init__(self, cluster: Cluster, count: int) -> None:
        self._cluster = cluster
        self._count = count
        key = make_key(cluster.master.folder).with_suffix(".pub").read_text().strip()
        machine = {"image": "tiny", "ram": f"{MEMORY} MiB", "ssh-keys": [key], "nat-rules": [80], "stop-timeout": 5}
        self._parameters = json.dumps({"count": count, "machine": machine})

    def start(self) -> dict[str, float]:
        """By the command that a user types, which waits until all is there."""
        began = time.monotonic()
        master = self._cluster.master
        words = ("request", _NAME, str(KVM), "--type", "kvm-cluster", "--parameters", self._parameters)
        env = {"PATH": "/usr/bin:/bin", "SLAPOS_CLIENT_CONFIGURATION": str(master.folder / "client.cfg")}
        argv = [*master.prefix, str(SLAPOS), *words, "--timeout", "900"]
        order = subprocess.Popen(argv, env=env, cwd=master.folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        with self._cluster.inside():
            answered = wait_for_greetings(self._addresses(), self._count) - began
        if order.wait():
            raise SystemExit(f"slapos request ended with {order.returncode}")
        return {"answered": answered, "told": time.monotonic() - began}

    def end(self) -> None:
        self._cluster.master.slapos("service", "destroy", _NAME, timeout=300)

    def _addresses(self) -> list[Address]:
        """Of all partitions, one of which has no machine."""
        nodes, numbers = self._cluster.nodes, range(_FIRST, self._count // 2 + 1 + _FIRST)
        return [(each.namespace.partitions_ipv6.replace("/64", f"{n:x}"), _SSH) for each in nodes for n in numbers]


def main() -> None:
    count = int(sys.argv[2])
    with two_nodes(Wanted(count // 2 + 1, users=True, release=KVM)) as cluster:
        for node in cluster.nodes:
            node.cloud.slapos("image", "add", str(tiny_image()), "--name", "tiny")
        order = Order(cluster, count)
        serve(order.start, order.end)


if __name__ == "__main__":
    main()
