"""Compare two documents of a machine: live changes, and changes that need a restart."""

from collections.abc import Iterator
from dataclasses import dataclass

from slap.model.vm.machine import Disk, Forward, Machine
from slap.model.vm.size import in_words


@dataclass(frozen=True)
class Open:
    """Forward a port of the host to one of the guest."""

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
    """Grow a disk to the requested size; the guest sees it at once."""

    disk: Disk

    def __str__(self) -> str:
        return f"give disk {self.disk.name} {in_words(self.disk.size)}"


Action = Open | Close | SetMemory | SetCpus | Grow


@dataclass(frozen=True)
class Changes:
    """`restart` names what cannot change live; then nothing is done live, since the restart does it all."""

    live: tuple[Action, ...] = ()
    restart: tuple[str, ...] = ()


def changes(running: Machine, wanted: Machine) -> Changes:
    """The changes from a running machine to the wanted one."""
    restart = tuple(_only_by_restart(running, wanted))
    return Changes(restart=restart) if restart else Changes(live=tuple(_live(running, wanted)))


def after(running: Machine, action: Action) -> Machine:
    """The running machine's document after live changes."""
    network, disks = running.network, running.disks
    match action:
        case Open(forward):
            forwards = (*network.forwards, forward)
            return running.model_copy(update={"network": network.model_copy(update={"forwards": forwards})})
        case Close(forward):
            forwards = tuple(each for each in network.forwards if each != forward)
            return running.model_copy(update={"network": network.model_copy(update={"forwards": forwards})})
        case SetMemory(mebibytes):
            return running.model_copy(update={"memory": mebibytes})
        case SetCpus(count):
            return running.model_copy(update={"cpus": count})
        case Grow(disk):
            return running.model_copy(
                update={"disks": tuple(disk if each.name == disk.name else each for each in disks)}
            )


def _live(running: Machine, wanted: Machine) -> Iterator[Action]:
    """Ports are closed first: one may go to another place of the guest. What was ordered of a disk is not what it has."""
    before, after = running.network.forwards, wanted.network.forwards
    yield from (Close(each) for each in before if each not in after)
    yield from (Open(each) for each in after if each not in before)
    if wanted.memory != running.memory:
        yield SetMemory(wanted.memory)
    if wanted.cpus != running.cpus:
        yield SetCpus(wanted.cpus)
    sizes = {disk.name: disk.size for disk in running.disks}
    yield from (Grow(disk) for disk in wanted.disks if disk.size and disk.size != sizes.get(disk.name))


def _only_by_restart(running: Machine, wanted: Machine) -> Iterator[str]:
    yield from (name for name in _FIXED if getattr(running, name) != getattr(wanted, name))
    if _fixed_network(running) != _fixed_network(wanted):
        yield "network"
    if _shape(running) != _shape(wanted):
        yield "disks"
    if running.memory != wanted.memory and not _has_balloon_for(running, wanted.memory):
        yield "memory"
    if running.cpus > wanted.cpus or (running.cpus < wanted.cpus and wanted.cpus > running.most_cpus):
        yield "cpus"


def _has_balloon_for(running: Machine, memory: int) -> bool:
    return running.most_memory > 0 and memory <= max(running.memory, running.most_memory)


def _fixed_network(machine: Machine) -> tuple[str, bool, str]:
    return machine.network.mac, machine.network.internet, machine.network.tap


def _shape(machine: Machine) -> list[tuple[str, str, str, str]]:
    """What of disks cannot change while they are in use. An image is what a disk began as: it stays what it became."""
    return [(disk.name, disk.format, disk.cache, disk.bus) for disk in machine.disks]


_FIXED = (
    "uuid", "most_memory", "most_cpus", "cpu_model", "acceleration", "boot_iso", "boot_order", "seed", "console",
)  # fmt: skip
