"""Port redirections: what is asked for becomes socat's command lines, or is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import CommandFailed, InvalidInput
from slap.node.manager.portredir import Portredir, forward_of, redirects_of
from slap.node.partition.supervision import FORWARDER_SUFFIX
from slap.system.supervisor import ProcessInfo, ProcessState
from tests.unit.node.managed import Room
from tests.unit.node.things import PART

GROUP = PART + FORWARDER_SUFFIX


def entry(**changes: Any) -> dict[str, Any]:
    return {"srcPort": 8080, "destPort": 80} | changes


@pytest.mark.parametrize(
    ("asked", "target", "user", "words"),
    [
        (entry(), "2001:db8::2", "u", ("TCP4-LISTEN:8080,reuseaddr,fork,backlog=128", "TCP6:[2001:db8::2]:80")),
        (entry(), "10.0.0.2", "", ("TCP4-LISTEN:8080,reuseaddr,fork,backlog=128", "TCP4:10.0.0.2:80")),
        (entry(type="UDP"), "10.0.0.2", "u", ("-T180", "UDP4-LISTEN:8080,reuseaddr,fork", "UDP4:10.0.0.2:80")),
        (entry(srcAddress="::1"), "::2", "u",
         ("TCP6-LISTEN:8080,bind=[::1],ipv6only=1,reuseaddr,fork,backlog=128", "TCP6:[::2]:80")),
        (entry(srcAddress="127.0.0.1", srcPort="22"), "::2", "u",
         ("TCP4-LISTEN:22,bind=127.0.0.1,reuseaddr,fork,backlog=128,su=u", "TCP6:[::2]:80")),
        (entry(srcPort=22), "::2", "", ("TCP4-LISTEN:22,reuseaddr,fork,backlog=128", "TCP6:[::2]:80")),
    ],
)  # fmt: skip
def test_socat_is_told(asked: dict[str, Any], target: str, user: str, words: tuple[str, ...]) -> None:
    (redirect,) = redirects_of([asked])
    assert forward_of(redirect, target, user, 1024).argv("socat") == ("socat", "-b131072", *words)


@pytest.mark.parametrize(
    "entries",
    [
        ["text"], [{}], [entry(srcPort=0)], [entry(srcPort=65536)], [entry(destPort="http")], [entry(type="sctp")],
        [entry(srcAddress="0.0.0.0,su=root")], [entry(srcAddress="::1%lo]!!CREATE:/etc/cron.d/x")],
        [entry(destAddress="fe80::1%eth0,su=root")], [entry(destAddress="example.com")], [entry(), entry()],
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(entries: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        redirects_of(entries)


def ask(room: Room, *entries: dict[str, Any]) -> Portredir:
    room.write(Portredir.request_file, json.dumps(entries))
    return Portredir(room.tools)


def test_they_come_and_go_with_the_file(tmp_path: Path) -> None:
    room = Room(tmp_path)
    manager = ask(room, entry(), entry(srcPort=5353, type="udp"))
    manager.configured(room.folder)
    assert "TCP6:[2001:db8::2]:80" in room.group(FORWARDER_SUFFIX)
    assert ("socat-tcp-8080" in room.group(FORWARDER_SUFFIX), "socat-udp-5353" in room.group(FORWARDER_SUFFIX)) == (
        True,
        True,
    )
    (room.folder.path / Portredir.request_file).unlink()
    manager.configured(room.folder)
    assert (room.group(FORWARDER_SUFFIX), room.supervisor.calls) == ("", [f"update {GROUP}", f"remove {GROUP}"])


def test_a_stopped_partition_keeps_no_port(tmp_path: Path) -> None:
    room = Room(tmp_path)
    manager = ask(room, entry())
    manager.configured(room.folder)
    manager.stopped(room.folder)
    manager.stopped(room.folder)
    assert (room.group(FORWARDER_SUFFIX), room.supervisor.calls) == ("", [f"update {GROUP}", f"remove {GROUP}"])


@pytest.mark.parametrize(
    ("state", "age", "again"),
    [
        (ProcessState.FATAL, 60, True),
        (ProcessState.FATAL, 10, False),
        (ProcessState.BACKOFF, 60, False),
        (ProcessState.EXITED, 60, False),
    ],
)
def test_a_port_that_is_taken_is_told_and_tried_again_later(
    tmp_path: Path, state: ProcessState, age: float, again: bool
) -> None:
    room = Room(tmp_path)
    room.supervisor.outcomes[GROUP] = [ProcessInfo("socat-tcp-8080", state, started=room.clock.seconds - age)]
    room.folder.logs.mkdir(parents=True)
    (room.folder.logs / "socat-tcp-8080.log").write_text("Address already in use\n")
    with pytest.raises(CommandFailed, match="socat-tcp-8080 does not run") as failed:
        ask(room, entry()).configured(room.folder)
    assert failed.value.details == "Address already in use"
    assert (f"start {GROUP}" in room.supervisor.calls) == again
