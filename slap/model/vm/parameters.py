"""What is ordered of a machine: the parameters of software/kvm, by their names there and by those of SlapOS's kvm release."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from slap.model.base import Frozen
from slap.model.errors import InvalidParameters
from slap.model.network.firewall import NetworkText
from slap.model.vm.former import in_our_words
from slap.model.vm.image import DiskFormat, ImageEntry
from slap.model.vm.life_parameters import LifeParameters, life_of
from slap.model.vm.machine import (
    LONGEST_STOP,
    MOST_CPUS,
    PORT_OFFSET,
    ROOT_DISK,
    Acceleration,
    BootDevice,
    Bus,
    Cache,
    Console,
    Disk,
    DiskName,
    Forward,
    Machine,
    Network,
    Port,
)
from slap.model.vm.seed import Hostname, Seed, SshKey, UserData
from slap.model.vm.size import GIB, MIB, read_size

SSH = 22
_HIGHEST_RULE = 65535 - PORT_OFFSET


def _also(name: str, *others: str) -> AliasChoices:
    return AliasChoices(name, *others)


def _sized(unit: int) -> Callable[[Any], int]:
    return lambda said: read_size(said, unit)


def _numbers(said: Any) -> Any:
    """A list, or SlapOS's "20 80 443"."""
    return said.replace(",", " ").split() if isinstance(said, str) else said


def _lines(said: Any) -> Any:
    return [line.strip() for line in said.splitlines() if line.strip()] if isinstance(said, str) else said


def _image(said: Any) -> Any:
    return {"name": said} if isinstance(said, str) else said


def _words(said: Any) -> Any:
    return said.replace(",", " ").split() if isinstance(said, str) else said


Memory = Annotated[int, BeforeValidator(_sized(MIB))]  # bytes
DiskSize = Annotated[int, BeforeValidator(_sized(GIB))]  # bytes
Image = Annotated[ImageEntry, BeforeValidator(_image)]
Rule = Annotated[int, Field(ge=1, le=_HIGHEST_RULE)]


class ExtraDisk(Frozen):
    """A disk that begins empty."""

    name: DiskName
    size: DiskSize
    format: DiskFormat = "qcow2"
    cache: Cache = "writeback"
    bus: Bus = "virtio"


class MachineParameters(LifeParameters):
    """An order. Sizes are bytes here, whatever was written."""

    model_config = ConfigDict(populate_by_name=False)

    image: Image | None = None
    boot_iso: Image | None = Field(default=None, validation_alias=_also("boot-iso"))
    ram: Memory = Field(default=1 * GIB, validation_alias=_also("ram", "ram-size"))
    ram_max: Memory = Field(default=0, validation_alias=_also("ram-max", "ram-max-size"))
    cpu: int = Field(default=1, ge=1, le=MOST_CPUS, validation_alias=_also("cpu", "cpu-count"))
    cpu_max: int = Field(default=0, ge=0, le=MOST_CPUS, validation_alias=_also("cpu-max", "cpu-max-count"))
    cpu_model: str = Field(default="", validation_alias=_also("cpu-model"))
    acceleration: Acceleration = "auto"
    disk_size: DiskSize = Field(default=0, validation_alias=_also("disk-size"))
    disk_cache: Cache = Field(default="writeback", validation_alias=_also("disk-cache"))
    disk_type: Bus = Field(default="virtio", validation_alias=_also("disk-type"))
    disks: tuple[ExtraDisk, ...] = ()
    boot_order: Annotated[tuple[BootDevice, ...], BeforeValidator(_words)] = Field(
        default=("hd", "cdrom"), validation_alias=_also("boot-order")
    )
    nat_rules: Annotated[tuple[Rule, ...], BeforeValidator(_numbers)] = Field(
        default=(80, 443), validation_alias=_also("nat-rules")
    )
    internet: bool = False
    visitors: Annotated[tuple[NetworkText, ...], BeforeValidator(_words), Field(max_length=256)] = ()
    use_tap: bool = Field(default=False, validation_alias=_also("use-tap"))
    ssh_keys: Annotated[tuple[SshKey, ...], BeforeValidator(_lines)] = Field(
        default=(), validation_alias=_also("ssh-keys", "authorized-keys")
    )
    hostname: Hostname | None = Field(default=None, validation_alias=_also("hostname", "name"))
    user_data: UserData = Field(default="", validation_alias=_also("user-data"))
    keyboard: str = Field(default="en-us", validation_alias=_also("keyboard", "keyboard-layout-language"))
    wait_for_ssh: bool = Field(default=True, validation_alias=_also("wait-for-ssh"))
    boot_timeout: int = Field(default=600, ge=1, le=86400, validation_alias=_also("boot-timeout"))
    stop_timeout: int = Field(default=30, ge=1, le=LONGEST_STOP, validation_alias=_also("stop-timeout"))

    @model_validator(mode="before")
    @classmethod
    def _in_our_words(cls, said: Any) -> Any:
        if not isinstance(said, dict):
            return said
        for field in cls.model_fields.values():
            if isinstance(alias := field.validation_alias, AliasChoices):
                names = [str(name) for name in alias.choices if name in said]
                if len(names) > 1:
                    raise ValueError(f"{' and '.join(names)} are two names for one thing")
        return in_our_words(said)

    @property
    def guest_ports(self) -> tuple[Port, ...]:
        """Those that can be reached: ssh's, and the ordered ones."""
        return tuple(dict.fromkeys((SSH, *self.nat_rules)))


@dataclass(frozen=True)
class Place:
    """Where a machine is ordered: whose it is, and by which address its ports are reached on its computer."""

    partition: str
    guid: str
    reference: str
    address: str
    tap: str = ""


def read_parameters(said: dict[str, Any]) -> MachineParameters:
    """Raises InvalidParameters, which names all that is wrong."""
    try:
        return MachineParameters.model_validate(said)
    except ValidationError as error:
        raise _wrong(error) from error


def machine_of(ordered: MachineParameters, place: Place) -> Machine:
    """The document of an order. Raises InvalidParameters for one that contradicts itself."""
    try:
        return Machine(
            name=place.partition,
            uuid=str(uuid5(NAMESPACE_URL, place.guid)),
            memory=ordered.ram // MIB,
            most_memory=ordered.ram_max // MIB,
            cpus=ordered.cpu,
            most_cpus=ordered.cpu_max,
            cpu_model=ordered.cpu_model,
            acceleration=ordered.acceleration,
            disks=tuple(_disks(ordered)),
            boot_iso=ordered.boot_iso,
            boot_order=ordered.boot_order,
            network=_network(ordered, place),
            seed=_seed(ordered, place),
            console=Console(keyboard=ordered.keyboard),
            life=life_of(ordered, place.guid),
            stop_timeout=ordered.stop_timeout,
        )
    except ValidationError as error:
        raise _wrong(error) from error


def _disks(ordered: MachineParameters) -> list[Disk]:
    """Without an image and without a size there is no disk to begin from, but a CD-ROM may do."""
    found = [Disk(**dict(each)) for each in ordered.disks]
    if ordered.image is None and not ordered.disk_size:
        return found
    root = Disk(
        name=ROOT_DISK,
        size=ordered.disk_size,
        image=ordered.image,
        cache=ordered.disk_cache,
        bus=ordered.disk_type,
    )
    return [root, *found]


def _network(ordered: MachineParameters, place: Place) -> Network:
    forwards = [Forward(guest=port, address=place.address, port=port + PORT_OFFSET) for port in ordered.guest_ports]
    return Network(
        mac=_mac(place.guid),
        forwards=() if ordered.use_tap else tuple(forwards),
        internet=ordered.internet,
        tap=place.tap if ordered.use_tap else "",
    )


def _seed(ordered: MachineParameters, place: Place) -> Seed:
    return Seed(
        identity=place.guid,
        hostname=ordered.hostname or hostname_of(place.reference),
        ssh_keys=ordered.ssh_keys,
        user_data=ordered.user_data,
    )


def hostname_of(reference: str) -> str:
    """A name that a machine may have, from one that people gave."""
    return re.sub(r"[^a-z0-9]+", "-", reference.lower()).strip("-")[:63].strip("-") or "machine"


def _mac(guid: str) -> str:
    """Of qemu's own range, and always the same."""
    return "52:54:00:" + sha256(guid.encode()).digest()[:3].hex(":")


def _wrong(error: ValidationError) -> InvalidParameters:
    lines = [f"{'.'.join(map(str, each['loc'])) or 'all'}: {_plain(each['msg'])}" for each in error.errors()]
    return InvalidParameters(
        "The parameters of the machine are wrong.", "\n".join(lines), "See software/kvm/README.md for what they can be."
    )


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
