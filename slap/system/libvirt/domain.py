"""A machine as libvirt wants to hear of it: its values, and the XML that is made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

_NAMES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "sd"}  # q35 has SATA in place of IDE


@dataclass(frozen=True)
class DiskFile:
    """A file that the guest sees as a disk, or as a CD-ROM."""

    path: Path
    format: str = "qcow2"
    bus: str = "virtio"
    cache: str = "writeback"
    is_cdrom: bool = False
    is_read_only: bool = False
    target: str = ""  # vda, sdb, ...


@dataclass(frozen=True)
class Rule:
    """A TCP port of the host that leads to one of the guest."""

    address: str
    port: int
    guest: int

    @property
    def listens(self) -> str:
        return f"tcp:{self.address}:{self.port}"

    def __str__(self) -> str:
        return f"{self.listens}-:{self.guest}"


@dataclass(frozen=True)
class Nat:
    """The guest's own small network behind qemu. A restricted one lets nothing out but answers."""

    mac: str
    rules: tuple[Rule, ...] = ()
    restricted: bool = True

    @property
    def netdev(self) -> str:
        words = ["user", f"id={NAT}", "ipv6=off", f"restrict={'on' if self.restricted else 'off'}"]
        return ",".join((*words, *(f"hostfwd={rule}" for rule in self.rules)))


NAT = "nat"  # by which the monitor knows it


@dataclass(frozen=True)
class Domain:
    """Memory in MiB. `environment` is that of qemu's process, by which others find it."""

    name: str
    uuid: str
    title: str
    memory: int
    most_memory: int
    cpus: int
    most_cpus: int
    nat: Nat
    has_balloon: bool = False  # by which memory is taken and given back while it runs
    kvm: bool = False
    cpu_model: str = ""
    tap: str = ""
    disks: tuple[DiskFile, ...] = ()
    boot_order: tuple[str, ...] = ("hd",)
    console_socket: Path | None = None  # the first serial line
    vnc_socket: Path | None = None
    keyboard: str = "en-us"
    environment: Mapping[str, str] = field(default_factory=dict)


def named(disks: tuple[DiskFile, ...]) -> tuple[DiskFile, ...]:
    """The disks with the names that libvirt tells them by, in their order on each bus."""
    count: dict[str, int] = {}
    found = []
    for disk in disks:
        prefix = _NAMES[disk.bus]
        number = count[prefix] = count.get(prefix, -1) + 1
        found.append(DiskFile(**{**vars(disk), "target": f"{prefix}{chr(ord('a') + number)}"}))
    return tuple(found)


def domain_xml(domain: Domain) -> str:
    """What libvirt defines a machine by."""
    return _TEMPLATES.get_template("domain.xml.jinja2").render(
        domain=domain, disks=named(domain.disks), emulator=EMULATOR
    )


EMULATOR = "/usr/bin/qemu-system-x86_64"
_TEMPLATES = Environment(
    loader=PackageLoader("slap.system.libvirt", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
