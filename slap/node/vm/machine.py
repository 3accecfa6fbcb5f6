"""Run, change and stop the machine of a partition, as its user, by `etc/vm.json`.

Each of it may be repeated, cut off, or done twice at a time: the driver is had by one process after the other.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from slap.model.errors import CommandFailed, SlapError
from slap.model.vm.life import BackupPoint
from slap.model.vm.machine import Forward, Machine
from slap.model.vm.phase import Stage
from slap.node.core.kvm_probe import Prober
from slap.node.vm.backup_schedule import BackupScheduler
from slap.node.vm.changes import Action, Changes, Close, Grow, Open, SetCpus, SetMemory, after, changes
from slap.node.vm.folder import MachineFolder
from slap.node.vm.images import Images
from slap.node.vm.start import MachineStarter, rule_of
from slap.system.clock import Clock
from slap.system.libvirt.domain import NAT, domain_xml
from slap.system.libvirt.driver import Driver

# While a guest is asked to end it is asked again: one that was about to start had no ears yet.
_ASK_AGAIN = 5.0
_PAUSE = 0.1
_TAKEN = "Could not set up host forwarding rule"
_JIT = "info jit"
_FILLED = re.compile(r"gen code size\s+(\d+)/(\d+)")
# qemu has translated code in regions of at least so many bytes, each of which one processor writes to.
_REGION = 2 << 20


@dataclass(frozen=True)
class Tools:
    """What a machine is run with. `environment` is that of qemu's process, by which its node finds it."""

    folder: MachineFolder
    images: Images
    maker: MachineStarter
    prober: Prober
    clock: Clock
    environment: Mapping[str, str]
    driver: Callable[[str], AbstractContextManager[Driver]]
    keeper: BackupScheduler


def run(tools: Tools) -> None:
    """Start the machine unless it runs. Raises SlapError, and writes the reason as its phase."""
    folder = tools.folder
    try:
        tools.images.wait(lambda: folder.wanted().images, lambda words: folder.tell(Stage.WAITING_FOR_IMAGE, words))
        with tools.driver(folder.wanted().name) as driver:
            _start(tools, driver)
    except SlapError as error:
        folder.tell(Stage.FAILED, str(error))
        raise


def stop(tools: Tools) -> None:
    """Stop the machine: ask the guest, and wait as long as requested."""
    wanted = tools.folder.wanted()
    tools.folder.tell(Stage.STOPPING)
    with tools.driver(wanted.name) as driver:
        _end(tools.clock, driver, wanted)
        driver.forget(wanted.name)
    tools.folder.tell(Stage.STOPPED)


def plan(tools: Tools) -> Changes:
    """The changes that `apply` would make to a running machine."""
    running = tools.folder.running()
    return changes(running, tools.folder.wanted()) if running else Changes()


def apply(tools: Tools) -> Changes:
    """Change the machine to the wanted document; stop it if it needs a restart, which its service does."""
    folder = tools.folder
    wanted = folder.wanted()
    with tools.driver(wanted.name) as driver:
        running = folder.running()
        if running is None or driver.look(wanted.name) is None:
            return Changes()  # what starts it next takes what is wanted then
        if restore := tools.keeper.past.restart_for(wanted):
            folder.tell(Stage.RESTARTING, f"for {restore}")
            folder.again.touch()
            driver.destroy(wanted.name)  # what it has not written yet is given up, as all that it wrote since
            return Changes(restart=(restore,))
        tools.maker.check(wanted)
        todo = without_unsafe_hotplug(changes(running, wanted), driver, wanted.name)
        if todo.restart:
            folder.tell(Stage.RESTARTING, f"for {', '.join(todo.restart)}")
            folder.again.touch()
            _end(tools.clock, driver, wanted)
            return todo
        for action in todo.live:
            _carry_out(tools, driver, wanted.name, action)
            running = after(running, action)
            folder.remember(running)  # done is done, whatever becomes of the next
        tools.keeper.past.while_running(wanted, driver)
        folder.remember(wanted)
    tools.keeper.tell(wanted)
    tools.keeper.backup_if_asked(wanted)
    return todo


def keep(tools: Tools) -> BackupPoint | None:
    """Make the backup that is due, if the machine runs."""
    wanted = tools.folder.wanted()
    with tools.driver(wanted.name) as driver:
        runs = driver.look(wanted.name) is not None
    return tools.keeper.backup(wanted) if runs else None


def _start(tools: Tools, driver: Driver) -> None:
    folder = tools.folder
    machine = folder.wanted()
    seen = driver.look(machine.name)
    if seen is None:
        folder.tell(Stage.PREPARING)
        tools.keeper.past.before_disks(machine)
        tools.maker.prepare(machine)
        tools.keeper.past.before_start(machine)
        tools.keeper.tell(machine)
        kvm = tools.prober.has_kvm(machine.acceleration)
        driver.forget(machine.name)
        folder.remember(machine)  # first: it may outlive whoever starts it
        _boot(driver, domain_xml(tools.maker.domain(machine, kvm, tools.environment)), machine)
    else:
        kvm = seen.kvm
    folder.tell(Stage.BOOTING, acceleration="kvm" if kvm else "emulation")
    folder.publish({"acceleration": "kvm" if kvm else "emulation"})


def _boot(driver: Driver, xml: str, machine: Machine) -> None:
    try:
        driver.start(xml)
    except CommandFailed as error:
        for forward in machine.network.forwards:
            if f"{_TAKEN} '{rule_of(forward)}'" in error.details:
                raise _taken(forward) from error
        raise


def _end(clock: Clock, driver: Driver, machine: Machine) -> None:
    """Stop by the power button, then by force."""
    name, deadline, asked = machine.name, clock.monotonic() + machine.stop_timeout, float("-inf")
    while driver.look(name) is not None and (now := clock.monotonic()) < deadline:
        if now - asked >= _ASK_AGAIN:
            driver.ask_to_end(name)
            asked = now
        clock.sleep(_PAUSE)
    driver.destroy(name)


def _carry_out(tools: Tools, driver: Driver, name: str, action: Action) -> None:
    match action:
        case Open(forward):
            _close(driver, name, forward)  # whoever opened it may have been killed before that was noted
            if driver.monitor(name, f"hostfwd_add {NAT} {rule_of(forward)}"):
                raise _taken(forward)
        case Close(forward):
            _close(driver, name, forward)
        case SetMemory(mebibytes):
            driver.set_memory(name, mebibytes)
        case SetCpus(count):
            driver.set_cpus(name, count)
        case Grow(disk):
            driver.grow(name, tools.folder.disk(disk), disk.size)


def _close(driver: Driver, name: str, forward: Forward) -> None:
    driver.monitor(name, f"hostfwd_remove {NAT} {rule_of(forward).listens}")


def _taken(forward: Forward) -> CommandFailed:
    return CommandFailed(
        f"Port {forward.port} of {forward.address} is taken.",
        f"It would lead to port {forward.guest} of the machine.",
        "Leave this port out of nat-rules, or end what listens there.",
    )


def without_unsafe_hotplug(todo: Changes, driver: Driver, name: str) -> Changes:
    """The changes, or a restart where adding a processor live could crash qemu.

    A new processor of an emulated machine needs a region for what it translates; where all are taken, qemu 7.2 aborts, and
    the guest with it. That half of them is filled leaves enough for whoever writes meanwhile.
    """
    counts = [action.count for action in todo.live if isinstance(action, SetCpus)]
    seen = driver.look(name)
    if not counts or seen is None or seen.kvm or _has_room(driver.monitor(name, _JIT), max(counts)):
        return todo
    return Changes(restart=("cpus",))


def _has_room(answer: str, processors: int) -> bool:
    found = _FILLED.search(answer)
    if found is None:
        return False
    filled, size = map(int, found.groups())
    return filled <= size // 2 and processors * _REGION <= size // 2
