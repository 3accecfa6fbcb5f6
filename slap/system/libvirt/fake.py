"""A driver whose machines are values; what it was asked is kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from slap.model.errors import CommandFailed
from slap.system.libvirt.driver import Seen

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


@dataclass
class FakeDriver:
    """`deaf` machines do not listen when they are asked to end; `taken` are ports that rules cannot have."""

    deaf: bool = False
    taken: set[int] = field(default_factory=set)
    machines: dict[str, Seen] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    disks: dict[str, list[str]] = field(default_factory=dict)  # the files of each machine's
    answers: dict[str, str] = field(default_factory=dict)  # of the monitor

    def look(self, name: str) -> Seen | None:
        return self.machines.get(name)

    def start(self, xml: str) -> None:
        domain = ElementTree.fromstring(xml)
        name = domain.findtext("name", "")
        words = " ".join(each.get("value", "") for each in domain.iter(f"{_QEMU}arg"))
        rules = re.findall(r"hostfwd=([^, ]+)", words)
        self._check_ports(rules)
        memory, cpus = int(domain.findtext("currentMemory", "0")), domain.find("vcpu")
        count = int(cpus.get("current", "1")) if cpus is not None else 1
        self.asked.append(f"start {name}")
        self.machines[name] = Seen(len(self.asked) + 1000, memory, count, domain.get("type") == "kvm")
        self.rules[name] = rules
        self.disks[name] = [each.get("file", "") for each in domain.iterfind("devices/disk/source")]

    def ask_to_end(self, name: str) -> None:
        self.asked.append(f"ask {name}")
        if not self.deaf:
            self.machines.pop(name, None)

    def destroy(self, name: str) -> None:
        if self.machines.pop(name, None):
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
            self._check_ports([rule])
            self.rules[name].append(rule)
        elif verb == "hostfwd_remove":
            self.rules[name] = [each for each in self.rules[name] if not each.startswith(f"{rule}-")]
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
        self.machines[name] = replace(self._must(name), memory=mebibytes)

    def set_cpus(self, name: str, count: int) -> None:
        self.machines[name] = replace(self._must(name), cpus=count)

    def resize(self, name: str, disk: Path, size: int) -> None:
        self._must(name)
        self.asked.append(f"resize {disk.name} {size}")

    def _must(self, name: str) -> Seen:
        if name not in self.machines:
            raise CommandFailed(f"There is no machine {name}.")
        return self.machines[name]

    def _check_ports(self, rules: list[str]) -> None:
        for rule in rules:
            if int(rule.split("-")[0].rpartition(":")[2]) in self.taken:
                raise CommandFailed("The machine cannot be started.", f"Could not set up host forwarding rule '{rule}'")
