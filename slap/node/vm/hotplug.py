"""Whether a processor can be plugged into a machine that runs: into one that is emulated not always."""

import re

from slap.node.vm.changes import Changes, SetCpus
from slap.system.libvirt.driver import Driver

_JIT = "info jit"
_FILLED = re.compile(r"gen code size\s+(\d+)/(\d+)")
# qemu has translated code in regions of at least so many bytes, each of which one processor writes to.
_REGION = 2 << 20


def as_possible(todo: Changes, driver: Driver, name: str) -> Changes:
    """The changes, or a restart for them.

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
