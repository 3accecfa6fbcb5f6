"""Who reaches what where the partition firewall is in force: asked of a real kernel, as the users themselves."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from slap.model.computer import Partition
from slap.model.network.firewall import FIREWALL_FILE, parse_destination
from slap.node.core.accounts import Account
from slap.node.core.config import NodeConfig, default_root
from slap.node.format.plan import finish
from slap.node.manager.base import Tools
from slap.node.manager.firewall import PartitionFirewall
from slap.node.manager.firewall_context import table_of
from slap.node.manager.firewall_rules import FirewallContext, frame
from slap.node.partition.folder import PartitionFolder
from slap.system import environment
from slap.system.clock import FakeClock
from slap.system.network.nftables import Nftables
from slap.system.supervisor import FakeSupervisor
from tests.interpreter import PYTHON
from tests.system.cloud import eventually
from tests.system.namespaces import Namespace, joined

# Listens at each HOST PORT, and says when it does.
_LISTEN = """
import select, socket, sys
servers = []
for host, port in zip(sys.argv[2::2], sys.argv[3::2]):
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in host: server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((host, int(port))); server.listen(100); servers.append(server)
open(sys.argv[1], "w").close()
while True:
    for server in select.select(servers, [], [])[0]:
        server.accept()[0].close()
"""
# Prints which of the HOST PORT pairs can be connected to.
_CONNECT = """
import json, socket, sys
found = []
for host, port in zip(sys.argv[1::2], sys.argv[2::2]):
    caller = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    caller.settimeout(3)
    found.append(caller.connect_ex((host, int(port))) == 0)
    caller.close()
print(json.dumps(found))
"""
# A service of the computer that listens on all of its addresses, and the master, who does too.
WILDCARD, MASTER, SERVICE = 2222, 5000, 8000

PLACES = {
    "own private": ("10.99.0.2", SERVICE),
    "own public": ("2001:db8:0:1::2", SERVICE),
    "other private": ("10.99.0.3", SERVICE),
    "other public": ("2001:db8:0:1::3", SERVICE),
    "loopback": ("127.0.0.1", SERVICE),
    "loopback 6": ("::1", SERVICE),
    "computer": ("192.0.2.1", SERVICE),
    "computer 6": ("2001:db8::1", SERVICE),
    "master": ("127.0.0.1", MASTER),
    "master at the computer": ("192.0.2.1", MASTER),
    "master at own": ("10.99.0.2", MASTER),
    "master at other public": ("2001:db8:0:1::3", MASTER),
    "wildcard at own": ("10.99.0.2", WILDCARD),
    "outside": ("192.0.2.2", SERVICE),
    "outside 6": ("2001:db8::2", SERVICE),
    "outside, another port": ("192.0.2.2", WILDCARD),
}
EVERYTHING = set(PLACES)
OWN = {"own private", "own public"}
OUTSIDE = {"outside", "outside 6", "outside, another port"}
PUBLISHED = {"own public", "other public"}
ORDINARY = OWN | PUBLISHED | OUTSIDE | {"master", "master at own", "master at other public", "wildcard at own"}
USER, NEIGHBOUR = 61_002, 61_003


@dataclass(frozen=True)
class Host:
    """A computer with two partitions, and what is outside of it."""

    inside: Namespace
    outside: Namespace
    config: NodeConfig

    @property
    def folder(self) -> PartitionFolder:
        return self._partition(0, USER)

    @property
    def neighbour(self) -> PartitionFolder:
        return self._partition(1, NEIGHBOUR)

    def manager(self) -> PartitionFirewall:
        clock = FakeClock()
        clock.sleep(1000)
        return PartitionFirewall(Tools(self.config, FakeSupervisor(), self.inside, clock))

    def close(self, **wish: Any) -> set[str]:
        """What the user reaches, when the partition closes something."""
        path = self.folder.path / FIREWALL_FILE
        path.write_text(json.dumps(wish))
        self.folder.account.chown(path)
        self.manager().configured(self.folder)
        return reached(self.inside, USER)

    def _partition(self, number: int, user: int) -> PartitionFolder:
        account = Account(f"slapuser{number}", user, user, user)
        return PartitionFolder(self.config, partitions()[number], account)


def partitions() -> tuple[Partition, ...]:
    pairs = (("10.99.0.2", "2001:db8:0:1::2"), ("10.99.0.3", "2001:db8:0:1::3"))
    return tuple(Partition(name=f"slappart{n}", ipv4=(four,), ipv6=(six,)) for n, (four, six) in enumerate(pairs))


def reached(namespace: Namespace, user: int, *only: str) -> set[str]:
    """Which of the places, or only of some of them, a user can connect to."""
    names = only or tuple(PLACES)
    words = [str(word) for name in names for word in PLACES[name]]
    answer = namespace.words(PYTHON, "-I", "-c", _CONNECT, *words, user=user).check()
    return {name for name, is_reached in zip(names, json.loads(answer.stdout), strict=True) if is_reached}


def listening(stack: ExitStack, namespace: Namespace, mark: Path, *places: tuple[str, int]) -> None:
    words = [str(word) for place in places for word in place]
    stack.enter_context(namespace.background(PYTHON, "-I", "-c", _LISTEN, str(mark), *words))
    eventually(mark.exists)


if environment.is_root():

    @pytest.fixture(scope="module")
    def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
        folder = tmp_path_factory.mktemp("node")
        config = NodeConfig(**default_root(folder / "root"), master_url=f"http://127.0.0.1:{MASTER}")
        config = config.model_copy(
            update={"format": config.format.model_copy(update={"ipv4_local_network": "10.99.0.0/24"})}
        )
        config.make_folders()
        finish(config, partitions())
        with ExitStack() as stack:
            inside, outside = stack.enter_context(joined(2))
            for each in partitions():
                inside.ip("address", "add", f"{each.ipv4[0]}/32", "dev", "lo")
                inside.ip("address", "add", f"{each.ipv6[0]}/128", "dev", "eth0", "nodad")
            wildcards = [(any_, port) for any_ in ("0.0.0.0", "::") for port in (MASTER, WILDCARD)]
            own = [place for name, place in PLACES.items() if place[1] == SERVICE and "outside" not in name]
            listening(stack, inside, folder / "listens", *own, *wildcards)
            listening(stack, outside, folder / "outside", *((a, p) for a in ("0.0.0.0", "::") for p in (8000, 2222)))
            made = Host(inside, outside, config)
            for partition in (made.folder, made.neighbour):
                partition.path.mkdir()
            yield made

    def test_without_rules_everybody_reaches_everything(host: Host) -> None:
        host.inside.words("nft", "flush", "ruleset").check()
        assert reached(host.inside, USER) == reached(host.inside, 0) == EVERYTHING

    @pytest.mark.parametrize(
        ("wish", "expected"),
        [
            ({}, ORDINARY),
            ({"master": False}, OWN | PUBLISHED | OUTSIDE),
            ({"partitions": False}, OWN | OUTSIDE | {"master"}),
            ({"internet": False}, OWN | PUBLISHED | {"master"}),
            ({"internet": False, "master": False}, OWN | PUBLISHED),
            ({"internet": False, "master": False, "partitions": False}, OWN),
            ({"internet": False, "master": False, "partitions": False, "allow": ["192.0.2.2:8000", "127.0.0.1"]},
             OWN | {"outside"}),
            ({"internet": False, "master": False, "partitions": False, "allow": ["2001:db8::2", "10.99.0.0/16"]},
             OWN | {"outside 6"}),
        ],
    )  # fmt: skip
    def test_a_partition_reaches_what_is_its_business(host: Host, wish: dict[str, Any], expected: set[str]) -> None:
        assert host.close(**wish) == expected
        assert reached(host.inside, 0) == reached(host.inside, 4711) == EVERYTHING

    def test_what_is_open_to_one_is_closed_to_its_neighbour(host: Host) -> None:
        host.manager().configured(host.neighbour)
        expected = ORDINARY - {"own private", "wildcard at own", "master at own"} | {"other private"}
        assert reached(host.inside, NEIGHBOUR) == expected

    def test_visitors_who_are_not_named_are_turned_away(host: Host) -> None:
        def visitors(**ports: list[str]) -> tuple[bool, bool, bool, bool, bool]:
            """Whether the partition is reached by itself, root, its neighbour, another user, and from outside."""
            host.close(visitors=ports)
            host.manager().configured(host.neighbour)
            callers = [*((host.inside, user) for user in (USER, 0, NEIGHBOUR, 4711)), (host.outside, 0)]
            found = [bool(reached(namespace, user, "own public")) for namespace, user in callers]
            return found[0], found[1], found[2], found[3], found[4]

        assert visitors() == (True, True, True, True, True)
        assert visitors(**{"8000": ["2001:db8:ffff::/48"]}) == (True, True, False, False, False)
        assert visitors(**{"*": ["2001:db8::2"]}) == (True, True, False, False, True)
        assert visitors(**{"*": ["2001:db8:ffff::/48"], "8000": ["2001:db8::/64"]}) == (True, True, False, False, True)
        assert visitors(**{"9999": []}) == (True, True, True, True, True)

    def test_a_stranger_at_a_tap_reaches_what_is_published_and_nothing_that_listens_everywhere(host: Host) -> None:
        """Whatever comes by eth0 is as if it came by a tap."""
        host.inside.words("nft", "flush", "ruleset").check()
        places = [name for name in PLACES if not name.startswith(("outside", "loopback"))]
        assert {"computer", "master at the computer", "master at other public"} <= reached(host.outside, 0, *places)
        try:
            around = FirewallContext("taps", published=frozenset(each.ipv6[0] for each in partitions()), taps="eth")
            Nftables(host.inside).apply(frame(around).text)
            assert reached(host.outside, 0, *places) == PUBLISHED
            but = (parse_destination(f"[2001:db8:0:1::3]:{MASTER}"),)  # as the operator may
            Nftables(host.inside).apply(frame(replace(around, exceptions=but)).text)
            assert reached(host.outside, 0, *places) == PUBLISHED | {"master at other public"}
        finally:
            host.inside.words("nft", "flush", "ruleset").check()

    def test_rules_outlive_the_agent_come_back_when_flushed_and_go_with_the_partition(host: Host) -> None:
        assert host.close() == ORDINARY  # said by an agent that is gone
        manager = host.manager()
        manager.configured(host.neighbour)
        manager.configured(host.folder)
        host.inside.words("nft", "flush", "ruleset").check()
        assert reached(host.inside, USER) == EVERYTHING
        manager.tools.clock.sleep(30)
        manager.configured(host.neighbour)  # the look at one is enough for all
        assert reached(host.inside, USER) == ORDINARY
        host.inside.words("nft", "flush", "table", "inet", table_of(host.config)).check()  # rules alone
        manager.tools.clock.sleep(601)
        manager.configured(host.neighbour)
        assert reached(host.inside, USER) == ORDINARY
        for _ in range(2):
            manager.emptied(host.folder)
            host.inside.words("nft", "delete", "table", "inet", table_of(host.config)).check()
            manager.emptied(host.folder)  # a moment ago they were there
            assert reached(host.inside, USER) == EVERYTHING
        rules = host.inside.words("nft", "list", "table", "inet", table_of(host.config)).check().stdout
        assert "slappart0" not in rules and "slappart1" in rules
