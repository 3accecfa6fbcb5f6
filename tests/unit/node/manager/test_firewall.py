"""The partition firewall: what is said to the kernel, when, and what is refused."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slap.model.computer import Partition
from slap.model.errors import CommandFailed, InvalidInput
from slap.model.network.firewall import FIREWALL_FILE, OPEN, Firewall, parse_destination
from slap.node.core.accounts import Account
from slap.node.format.plan import finish
from slap.node.manager.firewall import PartitionFirewall, is_wanted, read_firewall_request
from slap.node.manager.firewall_context import MasterAddress, surroundings, table_of
from slap.node.manager.firewall_rules import FirewallContext, GuardedPartition, chains, frame, removal, rules
from slap.node.partition.folder import PartitionFolder
from slap.system import environment
from slap.system.clock import FakeClock
from slap.system.process import Command, Completed
from tests.unit.node.managed import Room

ME = Account("slapuser0", os.getuid(), os.getgid(), os.getgid())
OWN = ("2001:db8::2", "10.0.0.2")
NEIGHBOURS = {"2001:db8::2": 1002, "10.0.0.2": 1002, "2001:db8::3": 1003, "2001:db8:1::4": 1004}


def said(chain: str, wish: Firewall = OPEN) -> list[str]:
    """The rules of one of the chains of a partition."""
    text = rules("t", GuardedPartition("slappart0", 1002, OWN, wish, NEIGHBOURS))
    return [line.split(f"{chain} ", 1)[1] for line in text.splitlines() if line.startswith(f"add rule inet t {chain} ")]


REJECT = "goto refuse"
PORT = "meta l4proto { tcp, udp } th dport"


def test_an_ordinary_partition_reaches_itself_the_master_what_is_published_and_the_outside() -> None:
    assert said("slappart0-out") == [
        "ip daddr . tcp dport @master4 accept",
        "ip6 daddr . tcp dport @master6 accept",
        "ip6 daddr 2001:db8::2 accept",
        "ip daddr 10.0.0.2 accept",
        f"ip daddr @resolvers4 {PORT} 53 accept",
        f"ip6 daddr @resolvers6 {PORT} 53 accept",
        "jump exceptions",
        "ip daddr @published4 accept",
        "ip6 daddr @published6 accept",
        f'oifname "lo" {REJECT}',
        "jump private",
    ]


def test_a_closed_partition_reaches_itself_and_what_it_names() -> None:
    closed = Firewall(master=False, internet=False, partitions=False, allow=("192.0.2.0/24", "[2001:db8::9]:443"))
    assert said("slappart0-out", closed) == [
        f"ip daddr . tcp dport @master4 {REJECT}",
        f"ip6 daddr . tcp dport @master6 {REJECT}",
        'oifname "lo" meta mark set 0x51a905',
        "ip6 daddr 2001:db8::2 accept",
        "ip daddr 10.0.0.2 accept",
        f"ip daddr @published4 {REJECT}",
        f"ip6 daddr @published6 {REJECT}",
        f'oifname "lo" {REJECT}',
        "jump private",
        "ip daddr 192.0.2.0/24 accept",
        f"ip6 daddr 2001:db8::9/128 {PORT} 443 accept",
        REJECT,
    ]


def test_visitors_are_told_by_address_from_outside_and_by_user_from_this_computer() -> None:
    wish = Firewall(visitors={"*": ("192.0.2.0/24",), "10022": ("2001:db8::/48",)})
    assert said("slappart0-in", wish) == [
        f"ip6 saddr 2001:db8::/48 {PORT} 10022 accept",
        f"{PORT} 10022 {REJECT}",
        "ip saddr 192.0.2.0/24 meta l4proto { tcp, udp } accept",
        f"meta l4proto {{ tcp, udp }} {REJECT}",
    ]
    assert said("slappart0-near", wish)[:2] == [
        f"{PORT} 10022 meta skuid {{ 0, 1002, 1003 }} return",
        f"{PORT} 10022 {REJECT}",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("192.0.2.7:80", "192.0.2.7/32:80"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
    ],
)
def test_destinations_are_read(text: str, shown: str) -> None:
    assert str(parse_destination(text)) == shown
    assert parse_destination(shown) == parse_destination(text)


@pytest.mark.parametrize(
    "wish",
    [
        "nonsense", "[]", {"masters": True}, {"allow": ["example.com"]}, {"allow": ["10.0.0.1:0"]}, {"allow": [5]},
        {"allow": ["::1%x } accept\nflush ruleset"]}, {"visitors": {"http": []}}, {"visitors": {"1": ["x"]}},
        {"allow": ["10.0.0.1:99999"]}, {"visitors": {"70000": []}}, {"allow": ["10.0.0.1 } accept"]},
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_refused(tmp_path: Path, wish: Any) -> None:
    room = Room(tmp_path)
    room.write(FIREWALL_FILE, wish if isinstance(wish, str) else json.dumps(wish))
    with pytest.raises(InvalidInput, match="slapos-firewall is wrong"):
        read_firewall_request(room.folder)


def test_forgetting_makes_what_it_deletes_so_that_it_can_be_repeated() -> None:
    guarded = GuardedPartition("slappart0", 1002, OWN, OPEN, {})
    lines = removal("t", guarded).splitlines()
    for line in (each for each in lines if each.startswith("delete element")):
        made = next(each for each in lines if each.startswith(line.replace("delete", "add").removesuffix(" }")))
        assert lines.index(made) < lines.index(line)
    assert all(f"flush chain inet t {name}" in lines for name in chains(guarded))


def test_what_is_published_is_ipv6_where_there_is_any(tmp_path: Path) -> None:
    config = Room(tmp_path, {"managers": {"firewall": {"allow": "127.0.0.1:3142"}}}).config
    both = (Partition(name="a", ipv4=("10.0.0.2",), ipv6=("2001:db8::2",)),)
    found = surroundings(config, both, "# none\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n")
    assert (found.published, found.private) == (frozenset({"2001:db8::2"}), (config.format.ipv4_local_network,))
    assert (found.resolvers, [str(each) for each in found.exceptions]) == (
        frozenset({"127.0.0.53"}),
        ["127.0.0.1/32:3142"],
    )
    only = surroundings(config, (Partition(name="a", ipv4=("10.0.0.2",)),), "")
    assert (only.published, only.private) == (frozenset({"10.0.0.2"}), ())


def test_an_exception_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    config = Room(tmp_path, {"managers": {"firewall": {"allow": "localhost"}}}).config
    with pytest.raises(InvalidInput, match="allow of"):
        surroundings(config, (), "")


def test_the_masters_address_is_asked_for_now_and_then_and_kept_when_nobody_answers() -> None:
    clock = FakeClock()
    answers: list[list[str] | OSError] = [["192.0.2.1"], OSError("away"), ["192.0.2.2"]]

    def resolve(host: str) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    master = MasterAddress("https://master.example/", clock, resolve)
    found = []
    for _ in range(3):
        found.append(master.endpoints())
        clock.sleep(100)
        assert master.endpoints() == found[-1]
        clock.sleep(250)
    assert found == [{("192.0.2.1", 443)}, {("192.0.2.1", 443)}, {("192.0.2.2", 443)}]


class Kernel:
    """Answers nft: takes what it is told, until it is flushed."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.scripts: list[str] = []
        self.questions = 0
        self.flushed = False

    def run(self, command: Command) -> Completed:
        if command.argv[1:2] == ("-f",):
            self.scripts.append(command.stdin)
            self.flushed = False
            return Completed(command, int(self.refuses), stderr="Operation not supported")
        self.questions += 1
        return Completed(command, 0, "" if self.flushed else "\n".join(self.scripts))


def firewall(room: Room, kernel: Kernel) -> PartitionFirewall:
    finish(room.config, (room.folder.partition,))
    return PartitionFirewall(replace(room.tools, runner=kernel), lambda host: ["127.0.0.1"])


def a_room(folder: Path, **settings: Any) -> Room:
    return Room(folder, settings, account=ME)


if environment.is_root():

    def test_a_look_at_which_nothing_changed_starts_no_program(tmp_path: Path) -> None:
        room, kernel = a_room(tmp_path), Kernel()
        manager = firewall(room, kernel)
        manager.prepared(room.folder)
        before = len(kernel.scripts)
        for _ in range(50):
            room.clock.sleep(0.1)
            manager.configured(room.folder)
        assert (len(kernel.scripts), kernel.questions) == (before, 0)
        for _ in range(10):
            room.clock.sleep(21)
            manager.configured(room.folder)
        assert (len(kernel.scripts), kernel.questions) == (before, 10)

    def test_rules_that_somebody_flushed_come_back_for_all_partitions_at_one_look(tmp_path: Path) -> None:
        room, kernel = a_room(tmp_path), Kernel()
        manager = firewall(room, kernel)
        other = PartitionFolder(room.config, Partition(name="slappart8", ipv4=("127.77.0.9",)), ME)
        other.path.mkdir()
        for folder in (room.folder, other):
            manager.configured(folder)
        kernel.flushed = True
        room.clock.sleep(30)
        manager.configured(room.folder)
        assert all(f"chain inet {table_of(room.config)} {each.name}-out" in kernel.scripts[-1]
                   for each in (room.folder, other))  # fmt: skip
        manager.emptied(other)
        room.clock.sleep(30)
        kernel.flushed = True
        manager.configured(room.folder)
        assert "slappart8-out" not in kernel.scripts[-1]

    def test_where_the_kernel_refuses_it_is_an_error_only_if_it_was_asked_for(tmp_path: Path) -> None:
        lenient, strict = a_room(tmp_path / "a"), a_room(tmp_path / "b", partition_firewall="true")
        manager = firewall(lenient, Kernel(refuses=True))
        manager.configured(lenient.folder)
        manager.emptied(lenient.folder)
        assert not manager.guards()
        with pytest.raises(CommandFailed, match="nft"):
            firewall(strict, Kernel(refuses=True)).configured(strict.folder)


def test_without_users_of_their_own_there_is_none(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert not is_wanted(room.config)
    assert is_wanted(room.config.model_copy(update={"partition_firewall": "true"}))
    with pytest.raises(InvalidInput, match="alter_user"):
        firewall(room, Kernel()).configured(room.folder)


def test_two_nodes_of_a_computer_have_tables_of_their_own(tmp_path: Path) -> None:
    first, second = (Room(tmp_path / name).config for name in "ab")
    assert table_of(first) != table_of(second)
    assert table_of(first.model_copy(update={"root": Path("/opt/slapos")})) == "slapos"


def test_the_frame_says_whether_it_is_as_it_was() -> None:
    node = FirewallContext(
        "t", master=frozenset({("127.0.0.1", 5000)}), published=frozenset({"2001:db8::1", "10.0.0.1"})
    )
    assert frame(node) == frame(node)
    assert frame(node).stamp in frame(node).text
    assert "add element inet t master4 { 127.0.0.1 . 5000 }" in frame(node).text
    assert frame(FirewallContext("t")).stamp != frame(node).stamp


def test_what_comes_by_a_tap_is_told_also_where_taps_are_ports_of_a_bridge() -> None:
    """To the rules of addresses it came by the bridge, as what comes from outside does."""
    text = frame(FirewallContext("t", taps="slaptap")).text
    assert 'add rule bridge t taps iifname "slaptap*" meta mark set 0x51a906' in text
    assert "add rule inet t visitors meta mark 0x51a906 jump guests" in text
    assert 'add rule inet t visitors iifname "slaptap*" jump guests' in text
    assert text.index("add chain inet t exceptions") < text.index("add rule inet t unpublished jump exceptions")
    assert "bridge" not in frame(FirewallContext("t")).text
