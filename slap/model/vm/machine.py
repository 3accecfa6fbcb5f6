"""A virtual machine as its partition wants it: `etc/vm.json`, written by the recipe slap:vm, read by `slapos vm`."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from slap.model.base import Frozen, PartitionName
from slap.model.vm.image import DiskFormat, ImageEntry
from slap.model.vm.life import Life
from slap.model.vm.seed import Seed

MACHINE_FILE = "etc/vm.json"
# What a machine needs while it runs lies below the first of these folders of its partition, its disks in the second.
MACHINE_FOLDER = "var/vm"
DISK_FOLDER = "srv/disk"
ROOT_DISK = "root"

# A forwarded port of the guest is this much higher outside, as in SlapOS.
PORT_OFFSET = 10000
LEAST_MEMORY = 64  # MiB
MOST_CPUS = 255
LONGEST_STOP = 3600  # seconds

Port = Annotated[int, Field(ge=1, le=65535)]
DiskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,19}$")]
Cache = Literal["none", "writeback", "writethrough", "directsync", "unsafe"]
Bus = Literal["virtio", "scsi", "sata", "ide"]
Acceleration = Literal["auto", "kvm", "emulation"]
BootDevice = Literal["hd", "cdrom", "network"]


class Disk(Frozen):
    """A disk of the machine, a file of the partition. With an image it begins as that; a size of 0 is the image's."""

    name: DiskName
    size: int = Field(default=0, ge=0)  # bytes
    format: DiskFormat = "qcow2"
    image: ImageEntry | None = None
    cache: Cache = "writeback"
    bus: Bus = "virtio"

    @model_validator(mode="after")
    def _has_a_size(self) -> "Disk":
        if not self.size and self.image is None:
            raise ValueError(f"disk {self.name} has neither a size nor an image")
        if self.image is not None and self.format != "qcow2":
            raise ValueError("only a qcow2 disk can begin as an image")
        return self


class Forward(Frozen):
    """A port of the host that leads to one of the guest. Connections come from the computer itself only."""

    guest: Port
    address: str  # IPv4, the partition's own
    port: Port


class Network(Frozen):
    """The machine's one interface. Without `internet` the guest reaches nothing, and is reached by its forwards only."""

    mac: str
    forwards: tuple[Forward, ...] = ()
    internet: bool = False
    tap: str = ""  # an interface of the computer that this one is joined to, in place of NAT


class Console(Frozen):
    """The screen: VNC on a socket in the partition."""

    keyboard: str = Field(default="en-us", pattern=r"^[a-z]{2}(-[a-z]{2})?$")


class Machine(Frozen):
    """All that is wanted of a machine. Memory in MiB; the greatest memory and number of processors are for hot-plug."""

    name: PartitionName
    uuid: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    memory: int = Field(ge=LEAST_MEMORY)
    most_memory: int = 0
    cpus: int = Field(ge=1, le=MOST_CPUS)
    most_cpus: int = 0
    cpu_model: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")
    acceleration: Acceleration = "auto"
    disks: tuple[Disk, ...] = ()
    boot_iso: ImageEntry | None = None
    boot_order: tuple[BootDevice, ...] = ("hd", "cdrom")
    network: Network
    seed: Seed
    console: Console = Console()
    life: Life = Life()
    stop_timeout: int = Field(default=30, ge=1, le=LONGEST_STOP)  # seconds that its guest may take to shut down

    @property
    def images(self) -> tuple[ImageEntry, ...]:
        """What has to be there before the machine can start. One that begins from a backup needs no image for its disks."""
        found = [disk.image for disk in self.disks if disk.image is not None and self.life.clone is None]
        return tuple(dict.fromkeys([*found, *([self.boot_iso] if self.boot_iso else [])]))

    @model_validator(mode="after")
    def _is_possible(self) -> "Machine":
        names = [disk.name for disk in self.disks]
        if len(set(names)) < len(names):
            raise ValueError(f"two disks have the same name: {', '.join(names)}")
        if not self.disks and self.boot_iso is None:
            raise ValueError("there is nothing to start from: give an image or a boot-iso")
        return self
