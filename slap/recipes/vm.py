"""The machine of a partition, from the parameters of its order (vm)."""

import json
import os
from collections.abc import Iterable
from hashlib import sha256
from ipaddress import ip_address

from slap.model.check import MachineCheck, ServiceSettings
from slap.model.errors import InvalidParameters
from slap.model.vm.image import WISH_FILE
from slap.model.vm.life import DUE_FILE
from slap.model.vm.machine import LONGEST_STOP, MACHINE_FILE, MACHINE_FOLDER, PORT_OFFSET, Machine
from slap.model.vm.parameters import SSH, MachineParameters, Place, machine_of, read_parameters
from slap.model.vm.size import MIB, in_words
from slap.recipes.common.base import RecipeError
from slap.recipes.common.partition import InstancePart, PartReader
from slap.recipes.connection import preferred
from slap.recipes.service import Script
from slap.system import environment
from slap.system.network.addresses import bracketed

# The same for all: a service whose settings change is restarted. `slapos vm stop` knows how long its guest may take; it has
# some seconds more to switch it off.
_SETTINGS = ServiceSettings(stop_timeout=LONGEST_STOP + 15)
_FREQUENCY = 30
_LISTENS = 10  # seconds, at most, for a guest that took long to start
_KEEP_IF_DUE = f'read due 2>/dev/null < {DUE_FILE} && [ "$due" -le "$(date +%s)" ] && exec bin/vm-keep'
# What goes wrong is raised; of the rest libvirt need not speak.
_QUIET = {"LIBVIRT_LOG_OUTPUTS": "4:file:/dev/null"}

# Models are built at their first use: here, so that forks of a process that imported this have them.
for _model in (MachineParameters, Machine, MachineCheck):
    _model.model_rebuild()


class Vm(InstancePart):
    """slap:vm. Options: socat. Sets address, forward-ports, target, connection (JSON), and what docs/reference/recipes/vm.md
    lists. The order is the instance's own parameters."""

    guide = "vm"

    def read(self, options: PartReader) -> None:
        self._socat = options.text(
            "socat", what="the path of a socat, such as ${socat:location}/bin/socat of a slap:deb"
        )
        options.finish(self.guide)
        context = self.context
        self._address = preferred(context)
        self._inner = next(iter(context.ipv4), "")
        self._check_addresses()
        _check_program()
        try:
            self._ordered = read_parameters(context.instance.parameters)
            self._machine = machine_of(self._ordered, self._place())
        except InvalidParameters as error:
            raise RecipeError(error.brief, error.details, error.resolution) from error
        self._check_memory()
        self._check_network()
        self._describe()

    def install(self) -> list[str]:
        document = self._machine.model_dump_json(indent=1)
        wish = json.dumps([each.model_dump(exclude_defaults=True) for each in self._machine.images])
        return [
            self.place(self.folder / MACHINE_FILE, document),
            self.place(self.folder / WISH_FILE, wish),
            self.place(self.folder / "etc/service/.vm.json", _SETTINGS.model_dump_json()),
            self.place(self.folder / "etc/service/vm", self._script("run"), 0o700),
            # What makes this folder reads the document afterwards: to a machine that was never started all is new.
            self.place(self.folder / "etc/run/vm-apply", self._script("apply", document, MACHINE_FOLDER), 0o700),
            self.place(self.folder / "etc/plugin/vm.json", self._check()),
            *(self._clock() if self._machine.life.backup else ()),
        ]

    def _place(self) -> Place:
        instance = self.context.instance
        return Place(instance.partition, instance.guid, instance.reference, self._inner, self.context.tap)

    def _script(self, verb: str, depends_on: str = "", about: str = "") -> str:
        """The service stays as it is when the machine's document changes; `apply` is run again."""
        command = (
            str(environment.own_program("slapos")), "vm", verb, "--partition", str(self.folder),
            "--images", self.context.images, "--socat", self._socat,
        )  # fmt: skip
        digest = sha256(depends_on.encode()).hexdigest() if depends_on else ""
        return Script(command, self.folder, _QUIET, digest=digest, about=about).text()

    def _clock(self) -> Iterable[str]:
        """Each minute a shell compares two numbers; only when a backup is due is a Python started."""
        yield self.place(self.folder / "bin/vm-keep", self._script("keep"), 0o700)
        yield self.place(self.folder / "etc/cron.d/vm-keep", f"* * * * * {_KEEP_IF_DUE}\n")

    def _check(self) -> str:
        answers = {"host": self._address, "port": SSH + PORT_OFFSET} if self._waits_for_ssh() else {}
        return MachineCheck.model_validate(
            {
                "check": "machine", "frequency": _FREQUENCY, "timeout": _LISTENS, "grace": self._ordered.boot_timeout,
                **answers,
            }
        ).model_dump_json()  # fmt: skip

    def _waits_for_ssh(self) -> bool:
        return self._ordered.wait_for_ssh and bool(self._machine.network.forwards)

    def _describe(self) -> None:
        """What other parts of the profile refer to."""
        forwards = self._machine.network.forwards
        outside = [each.port for each in forwards]
        self.options["address"] = self._address
        self.options["target"] = self._inner
        # Where there is but the inner address, qemu listens at what is published, and there is nothing to forward.
        self.options["forward-ports"] = "" if self._address == self._inner else " ".join(map(str, outside))
        self.options["visitors"] = " ".join(self._ordered.visitors)
        self.options["connection"] = json.dumps(dict(self._connection()))

    def _connection(self) -> Iterable[tuple[str, object]]:
        host = bracketed(self._address)
        ports = {str(each.guest): f"{host}:{each.port}" for each in self._machine.network.forwards}
        if ports:  # at a tap it has addresses that only its guest knows
            yield ("ipv6" if ":" in self._address else "ipv4"), self._address
        # Said in any case, for others wait for it.
        yield "ssh-command", f"ssh -p {SSH + PORT_OFFSET} root@{self._address}" if ports else ""
        yield "ports", ports
        yield "hostname", self._machine.seed.hostname

    def _check_addresses(self) -> None:
        if self._inner and (self._address != self._inner or ip_address(self._inner).is_loopback):
            return
        raise RecipeError(
            "This partition has no addresses for a machine.",
            "It needs a private IPv4 address, and an IPv6 address by which the machine is reached.",
            "Set ipv4_local_network and ipv6_prefix in slapos.cfg, and type `slapos node format`.",
        )

    def _check_network(self) -> None:
        """qemu's own network lets a guest that has the Internet speak to this computer's loopback, too."""
        if (self._ordered.internet or self._ordered.visitors) and not self.context.firewall:
            what = "the Internet" if self._ordered.internet else "visitors of its choice"
            raise RecipeError(
                f"The machine cannot have {what} on {self.context.computer}.",
                "Its partitions have no firewall, which keeps guests from what is the computer's own.",
                "Order it with --node capability=firewall, or without.",
            )
        if self._ordered.use_tap and not self.context.tap:
            raise RecipeError(
                f"The machine cannot have a tap device: {self.context.instance.partition} has none.",
                resolution="Order it with --node capability=tap, or set create_tap = true in slapos.cfg and format the node.",
            )

    def _check_memory(self) -> None:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        wanted = max(self._machine.memory, self._machine.most_memory) * MIB
        if wanted > there:
            raise RecipeError(
                f"The machine cannot have {in_words(wanted)} of memory.",
                f"{self.context.computer} has {in_words(there)} in all.",
                "Order less, or on another computer.",
            )


def _check_program() -> None:
    """What runs the machine is called by the partition's user, who is not always whoever installed it."""
    program = environment.own_program("slapos")
    if not os.access(program, os.R_OK | os.X_OK):
        raise RecipeError(
            f"The user of this partition may not run {program}.",
            "A machine is run by it, as that user.",
            "Install the node where every user may read it, for example below /opt, and not in somebody's home.",
        )
