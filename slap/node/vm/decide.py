"""What a change of a machine's document means: what is done while it runs, and what only a restart can do."""

from collections.abc import Iterator
from dataclasses import dataclass

from slap.model.vm.machine import Disk, Forward, Machine


@dataclass(frozen=True)
class Open:
    """Let a port of the host lead to one of the guest."""

    forward: Forward

    def __str__(self) -> str:
        return f"open port {self.forward.guest}"


@dataclass(frozen=True)
class Close:
    forward: Forward

    def __str__(self) -> str:
        return f"close port {self.forward.guest}"


@dataclass(frozen=True)
class SetMemory:
    mebibytes: int

    def __str__(self) -> str:
        return f"give it {self.mebibytes} MiB of memory"


@dataclass(frozen=True)
class SetCpus:
    count: int

    def __str__(self) -> str:
        return f"give it {self.count} processors"


@dataclass(frozen=True)
class Grow:
    """Make a disk larger; the guest sees it at once."""

    disk: Disk

    def __str__(self) -> str:
        return f"make disk {self.disk.name} larger"


Action = Open | Close | SetMemory | SetCpus | Grow


@dataclass(frozen=True)
class Changes:
    """`restart` names what cannot be changed otherwise; then nothing is done live, for the restart does all of it."""

    live: tuple[Action, ...] = ()
    restart: tuple[str, ...] = ()


def changes(running: Machine, wanted: Machine) -> Changes:
    """How a machine that runs becomes the wanted one."""
    restart = tuple(_only_by_restart(running, wanted))
    return Changes(restart=restart) if restart else Changes(live=tuple(_live(running, wanted)))


def _live(running: Machine, wanted: Machine) -> Iterator[Action]:
    """Ports are closed first: one may go to another place of the guest."""
    before, after = running.network.forwards, wanted.network.forwards
    yield from (Close(each) for each in before if each not in after)
    yield from (Open(each) for each in after if each not in before)
    if wanted.memory != running.memory:
        yield SetMemory(wanted.memory)
    if wanted.cpus != running.cpus:
        yield SetCpus(wanted.cpus)
    sizes = {disk.name: disk.size for disk in running.disks}
    yield from (Grow(disk) for disk in wanted.disks if disk.size > sizes.get(disk.name, disk.size))


def _only_by_restart(running: Machine, wanted: Machine) -> Iterator[str]:
    yield from (name for name in _FIXED if getattr(running, name) != getattr(wanted, name))
    if _fixed_network(running) != _fixed_network(wanted):
        yield "network"
    if _shape(running) != _shape(wanted):
        yield "disks"
    if running.memory != wanted.memory and not _has_spare(wanted.most_memory, wanted.memory, running.most_memory):
        yield "memory"
    if running.cpus > wanted.cpus or (running.cpus < wanted.cpus and wanted.cpus > running.most_cpus):
        yield "cpus"


def _has_spare(most: int, wanted: int, most_of_running: int) -> bool:
    return most == most_of_running and wanted <= most_of_running


def _fixed_network(machine: Machine) -> tuple[str, bool, str]:
    return machine.network.mac, machine.network.internet, machine.network.tap


def _shape(machine: Machine) -> list[tuple[str, str, str, str]]:
    """What of disks cannot change while they are in use. An image is what a disk began as: it stays what it became."""
    return [(disk.name, disk.format, disk.cache, disk.bus) for disk in machine.disks]


_FIXED = (
    "uuid", "most_memory", "most_cpus", "cpu_model", "acceleration", "boot_iso", "boot_order", "seed", "console",
)  # fmt: skip
