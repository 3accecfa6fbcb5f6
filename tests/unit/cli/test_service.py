"""What is shown of services and computers."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from slap.cli.computer import info_text as computer_text
from slap.cli.computer import is_stale, supply_lines
from slap.cli.service import added, info_text, split_logs
from slap.model.computer import Computer, ComputerConfiguration, Partition, PartitionUse
from slap.model.errors import NotFound, NotOffered
from slap.model.promise import PromiseResult
from slap.model.software import SoftwareRelease, SoftwareType, Supply
from tests.unit.cli.fakes import START, FakeTransport, Shell, a_tree, an_instance, started


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abc", "bcde", "de"),
        ("xx", "xxx", "x"),
        ("ab", "yz", "yz"),
        ("ab", "", ""),
    ],
)
def test_following_a_log_shows_only_what_was_added(before: str, now: str, new: str) -> None:
    assert added(list(before), list(now)) == list(new)


def test_logs_are_told_apart_by_their_headings() -> None:
    text = "==> buildout.log <==\na\n\nb\n\n==> web.log <==\n\x1b[1mc\n"
    assert split_logs(text) == {"buildout.log": ["a", "", "b"], "web.log": ["c"]}
    assert split_logs("plain\n") == {"": ["plain"]}


def test_the_information_on_a_service_has_all_its_parts() -> None:
    promise = PromiseResult(name="url", passed=False, message="refused", at=START - timedelta(seconds=30))
    root = started(parameters={"port": 80, "users": ["a"]}, promises=(promise,), addresses=("10.0.0.1",))
    child = an_instance(guid="INST-2", root="INST-1", requester="INST-1", reference="db")
    release = SoftwareRelease(url=root.software_release, types={"default": SoftwareType(title="One server")})
    text = "\n\n".join(info_text(root, a_tree(root, child), release, START))
    for part in (
        "status     started (requested: started)",
        "type       default (One server)",
        "Connection\n  url  http://10.0.0.1/",
        "  port   80\n",
        "✗ url: refused (since 30 s)",
        "Tree\n  ✓ hello: started on COMP-1/slappart0\n    · db: placed on COMP-1/slappart0, waiting for the node",
    ):
        assert part in text


def test_what_a_service_ordered_is_named_by_both_names(shell: Shell) -> None:
    cluster = started(reference="many")
    console = {"console-url": "https://[2001:db8::3]:10352/", "console-user": "console", "console-password": "secret"}
    child = started(guid="INST-2", root="INST-1", reference="vm-1", connection=console)
    odd = started(guid="INST-3", reference="a/b", connection=console | {"console-user": "odd"})
    answers: dict[str, Sequence[Any]] = {
        "GET /instances": [[], [cluster]],
        "GET /instances/INST-1/tree": [a_tree(cluster, child)],
    }
    said = shell.run(FakeTransport(answers), "vm", "console", "many/vm-1", "-f", "json")
    assert json.loads(said.out) == console
    missing = shell.run(FakeTransport(answers), "vm", "console", "many/vm-2")
    assert (missing.status, "many has no vm-2." in missing.err, "vm-1" in missing.err) == (1, True, True)
    said = shell.run(FakeTransport({"GET /instances": [[odd]]}), "vm", "console", "a/b", "-f", "json")
    assert json.loads(said.out)["console-user"] == "odd"


def test_scripts_that_read_slapos_get_its_output(shell: Shell) -> None:
    failing = started(reported="error", message="Promise url: refused", parameters={"port": 80})
    answers: dict[str, Sequence[Any]] = {
        "GET /instances": [[failing]],
        "GET /instances/INST-1/tree": [a_tree(failing)],
        "GET /releases": [[]],
        "GET /computers/COMP-1": [NotFound("No.")],
    }
    master = FakeTransport({**answers, "GET /instances/INST-1/usage": [NotOffered("No.")]})
    listed = shell.run(master, "service", "list", "-f", "slapos").out
    assert json.loads(listed) == {"hello": "/r/hello/software.cfg"}
    info = json.loads(shell.run(master, "service", "info", "hello", "--news", "-f", "slapos").out)
    assert (info["software-url"], info["requested-state"], info["status"]) == (
        "/r/hello/software.cfg",
        "started",
        "red",
    )
    assert (info["instance-parameters"], info["shared"]) == ({"port": 80}, False)
    assert info["news"][0]["text"] == "#error Promise url: refused"


@pytest.mark.parametrize(("minutes", "stale"), [(None, True), (1, False), (4, True)])
def test_a_computer_that_was_not_heard_of_is_stale(minutes: int | None, stale: bool) -> None:
    seen_at = None if minutes is None else START - timedelta(minutes=minutes)
    configuration = ComputerConfiguration(partitions=())
    assert (
        is_stale(Computer(guid="C", title="c", configuration=configuration, free_partitions=0, seen_at=seen_at), START)
        is stale
    )


def test_the_information_on_a_computer_shows_partitions_and_why_a_build_failed() -> None:
    partition = Partition(name="slappart0", ipv4=("10.0.0.1",))
    computer = Computer(
        guid="COMP-1",
        title="one",
        configuration=ComputerConfiguration(partitions=(partition,), labels={"zone": "paris"}),
        free_partitions=0,
        seen_at=START - timedelta(minutes=10),
        partitions=(PartitionUse(partition=partition, instance="INST-1", reference="hello"),),
    )
    supply = Supply(
        url="/r/software.cfg", computer="COMP-1", requested="available", reported="error", message="make failed",
        log="gcc: not found", changed_at=START,
    )  # fmt: skip
    text = "\n\n".join(computer_text(computer, [supply], START))
    for part in (
        "10 min ago (stale)",
        "1 used, 0 free",
        "slappart0  hello",
        "10.0.0.1",
        "zone=paris",
        supply_lines(supply),
    ):
        assert part in text
    assert "error (requested: available)\n      make failed\n      gcc: not found" in text
