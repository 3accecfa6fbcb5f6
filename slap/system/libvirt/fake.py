"""A driver whose machines are values; what it was asked is kept. It refuses what qemu 7.2 and libvirt 9 refuse."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from slap.model.errors import CommandFailed
from slap.system.disk.file import must_grow
from slap.system.libvirt.driver import Seen

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_QCOW2 = b"QFI\xfb"  # what such a file begins with; the size that a guest sees is further on


@dataclass(frozen=True)
class Limits:
    """What cannot change while a machine runs."""

    memory: int
    cpus: int
    has_balloon: bool


@dataclass
class FakeDriver:
    """`deaf` machines do not listen when they are asked to end; `taken` are ports that rules cannot have."""

    deaf: bool = False
    taken: set[int] = field(default_factory=set)
    machines: dict[str, Seen] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    disks: dict[str, list[str]] = field(default_factory=dict)  # the files of each machine's
    sizes: dict[str, int] = field(default_factory=dict)  # by file, as the guest sees it
    limits: dict[str, Limits] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)  # of the monitor

    def look(self, name: str) -> Seen | None:
        return self.machines.get(name)

    def start(self, xml: str) -> None:
        domain = ElementTree.fromstring(xml)
        name = domain.findtext("name", "")
        words = " ".join(each.get("value", "") for each in domain.iter(f"{_QEMU}arg"))
        rules = re.findall(r"hostfwd=([^, ]+)", words)
        for rule in rules:
            if refusal := self._refusal(rule):
                raise CommandFailed("The machine cannot be started.", refusal)
        self.asked.append(f"start {name}")
        self.machines[name] = _seen(domain, len(self.asked) + 1000)
        self.limits[name] = _limits(domain)
        self.rules[name] = rules
        self.disks[name] = [each.get("file", "") for each in domain.iterfind("devices/disk/source")]
        self.sizes |= {path: _size(Path(path)) for path in self.disks[name]}

    def ask_to_end(self, name: str) -> None:
        self.asked.append(f"ask {name}")
        if not self.deaf:
            self._end(name)

    def destroy(self, name: str) -> None:
        if name in self.machines:
            self._end(name)
            self.asked.append(f"destroy {name}")

    def forget(self, name: str) -> None:
        self.destroy(name)
        self.asked.append(f"forget {name}")

    def monitor(self, name: str, command: str) -> str:
        self._must(name)
        self.asked.append(command)
        verb, _, rest = command.partition(" ")
        rule = rest.rpartition(" ")[2]
        if verb == "hostfwd_add":
            refusal = self._refusal(rule)
            self.rules[name] += [] if refusal else [rule]
            return refusal
        if verb == "hostfwd_remove":
            left = [each for each in self.rules[name] if not each.startswith(f"{rule}-")]
            was_there = len(left) < len(self.rules[name])
            self.rules[name] = left
            return f"host forwarding rule for {rule} {'removed' if was_there else 'not found'}"
        return self.answers.get(command, "")

    def ask(self, name: str, command: str, arguments: Mapping[str, Any]) -> Any:
        """Of what is asked in one transaction each part is kept; nothing comes of it."""
        self._must(name)
        if command == "query-named-block-nodes":
            files = enumerate(self.disks[name], 1)
            return [{"node-name": f"libvirt-{number}-storage", "drv": "file", "file": file} for number, file in files]
        for action in arguments.get("actions", [{"type": command, "data": arguments}]):
            self.asked.append(f"{action['type']} {action['data'].get('name', '')}".strip())
        return [] if command.startswith("query") else {}

    def set_memory(self, name: str, mebibytes: int) -> None:
        before, limits = self._must(name), self.limits[name]
        if not limits.has_balloon:
            raise CommandFailed(f"Machine {name} has no balloon.")
        if mebibytes > limits.memory:
            raise CommandFailed(f"Machine {name} has {limits.memory} MiB of memory at most.")
        self.machines[name] = replace(before, memory=mebibytes)

    def set_cpus(self, name: str, count: int) -> None:
        before = self._must(name)
        if count > self.limits[name].cpus:
            raise CommandFailed(f"Machine {name} has {self.limits[name].cpus} processors at most.")
        self.machines[name] = replace(before, cpus=count)

    def grow(self, name: str, disk: Path, size: int) -> None:
        self._must(name)
        if must_grow(disk.stem, self.sizes[str(disk)], size):
            self.asked.append(f"grow {disk.name} {size}")
            self.sizes[str(disk)] = size

    def _must(self, name: str) -> Seen:
        if name not in self.machines:
            raise CommandFailed(f"There is no machine {name}.")
        return self.machines[name]

    def _end(self, name: str) -> None:
        self.machines.pop(name, None)
        self.rules.pop(name, None)

    def _refusal(self, rule: str) -> str:
        """What qemu says when a port is taken, be it by another rule of its own; empty when it is free."""
        listens = rule.split("-")[0]
        ours = [each for rules in self.rules.values() for each in rules if each.startswith(f"{listens}-")]
        if ours or int(listens.rpartition(":")[2]) in self.taken:
            return f"Could not set up host forwarding rule '{rule}'"
        return ""


def _seen(domain: ElementTree.Element, pid: int) -> Seen:
    memory, cpus = int(domain.findtext("currentMemory", "0")), domain.find("vcpu")
    count = int(cpus.get("current", "1")) if cpus is not None else 1
    return Seen(pid, memory, count, domain.get("type") == "kvm")


def _limits(domain: ElementTree.Element) -> Limits:
    balloon = domain.find("devices/memballoon")
    return Limits(
        memory=int(domain.findtext("memory", "0")),
        cpus=int(domain.findtext("vcpu", "1")),
        has_balloon=balloon is not None and balloon.get("model") == "virtio",
    )


def _size(path: Path) -> int:
    head = path.read_bytes()[:32]
    return int.from_bytes(head[24:32]) if head.startswith(_QCOW2) else path.stat().st_size
