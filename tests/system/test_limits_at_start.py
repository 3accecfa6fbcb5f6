"""What supervisord sets before it starts a program of a partition."""

from pathlib import Path

from slap.system.host.launch import LaunchLimits
from tests.system.cloud import eventually
from tests.system.test_node_supervisor import RUNNING, SLEEP, Room, room

__all__ = ["room"]


def test_a_program_starts_within_the_limits_of_its_partition(room: Room) -> None:
    path = room.config.supervisor_folder / "limited.limits"
    path.write_text(LaunchLimits(descriptors=99, nice=5).text())
    room.update("limited", a=SLEEP)
    room.update("free", a=SLEEP)
    limited, free = (room.wait(group, "a", RUNNING).pid for group in ("limited", "free"))
    assert _descriptors(limited) == "99"
    assert _descriptors(free) != "99"


def test_a_program_whose_limits_cannot_be_set_is_not_started(room: Room) -> None:
    (room.config.supervisor_folder / "broken.limits").write_text("{")
    room.update("broken", a=f"touch {room.config.root}/ran; {SLEEP}")
    log = room.config.log / "supervisord.log"
    eventually(lambda: "limits of broken cannot be set" in log.read_text())
    assert not (room.config.root / "ran").exists()
    room.supervisor.remove("broken")


def _descriptors(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[3] for line in lines if line.startswith("Max open files"))
