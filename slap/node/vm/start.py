"""Prepare a machine's start: disks, seed, libvirt's definition."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import CommandFailed, InvalidInput
from slap.model.vm.image import ImageEntry, ReadyImage
from slap.model.vm.machine import Disk, Forward, Machine
from slap.model.vm.seed import Seed
from slap.node.vm.folder import MachineFolder
from slap.node.vm.images import Images
from slap.system import files
from slap.system.disk.file import Backing, create_disk, grow_disk, must_grow
from slap.system.disk.iso import write_iso
from slap.system.disk.qemu_img import QemuImg
from slap.system.libvirt.domain import DiskFile, Domain, Nat, Rule
from slap.system.process import Runner

# By this label cloud-init, and what reads such disks besides, know one.
LABEL = "cidata"


@dataclass(frozen=True)
class MachineStarter:
    """Creates what is missing; repeating it leaves alone what exists."""

    folder: MachineFolder
    images: Images
    runner: Runner

    def check(self, machine: Machine) -> None:
        """Raise InvalidInput for a disk that would have to shrink; may be called while the machine runs."""
        for disk in machine.disks:
            self._must_grow(disk)

    def prepare(self, machine: Machine) -> None:
        files.make_folder(self.folder.driver, 0o700)
        for disk in machine.disks:
            path = self.folder.disk(disk)
            if not path.exists():
                files.make_folder(path.parent, 0o700)
                self._create(disk, path)
            elif self._must_grow(disk):
                grow_disk(self.runner, path, disk.format, disk.size)
        make_seed(machine.seed, self.folder.seed)
        for left in (self.folder.console_socket, self.folder.vnc_socket, self.folder.again):
            left.unlink(missing_ok=True)

    def domain(self, machine: Machine, kvm: bool, environment: Mapping[str, str]) -> Domain:
        network = machine.network
        return Domain(
            name=machine.name,
            uuid=machine.uuid,
            title=machine.seed.hostname,
            memory=machine.memory,
            most_memory=max(machine.memory, machine.most_memory),
            cpus=machine.cpus,
            has_balloon=machine.most_memory > 0,
            most_cpus=max(machine.cpus, machine.most_cpus),
            nat=Nat(network.mac, tuple(map(rule_of, network.forwards)), restricted=not network.internet),
            kvm=kvm,
            cpu_model=machine.cpu_model,
            tap=network.tap,
            disks=(*map(self._disk_file, machine.disks), *self._cdroms(machine)),
            boot_order=machine.boot_order,
            console_socket=self.folder.console_socket,
            vnc_socket=self.folder.vnc_socket,
            keyboard=machine.console.keyboard,
            environment=environment,
        )

    def _disk_file(self, disk: Disk) -> DiskFile:
        return DiskFile(self.folder.disk(disk), disk.format, disk.bus, disk.cache)

    def _cdroms(self, machine: Machine) -> tuple[DiskFile, ...]:
        """The CD-ROMs: the seed as a simple disk that every guest can read, and a boot image."""
        seed = DiskFile(self.folder.seed, "raw", "virtio", is_cdrom=False, is_read_only=True)
        if machine.boot_iso is None:
            return (seed,)
        return seed, DiskFile(self._image(machine.boot_iso).path, "raw", "sata", is_cdrom=True, is_read_only=True)

    def _must_grow(self, disk: Disk) -> bool:
        path = self.folder.disk(disk)
        if not disk.size or not path.exists():
            return False
        return must_grow(disk.name, QemuImg(self.runner).info(path, disk.format).virtual_size, disk.size)

    def _create(self, disk: Disk, path: Path) -> None:
        """Create a disk, under a temporary name first: half a disk is none."""
        aside = path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        image = self._image(disk.image) if disk.image else None
        if image and 0 < disk.size < image.virtual_size:
            raise InvalidInput(
                f"Disk {disk.name} is smaller than its image.",
                f"{disk.image} has {image.virtual_size} bytes, and {disk.size} are wanted.",
                "Order a larger disk, or leave its size away.",
            )
        backing = Backing(image.path, image.format) if image else None
        create_disk(self.runner, aside, disk.format, disk.size, backing)
        files.put_in_place(aside, path)

    def _image(self, entry: ImageEntry) -> ReadyImage:
        image = self.images.ready(entry)
        if not image.path.exists():
            raise CommandFailed(
                f"Image {entry} is gone.", f"{image.path} is not there.", "Have the node fetch it anew."
            )
        return image


def rule_of(forward: Forward) -> Rule:
    return Rule(forward.address, forward.port, forward.guest)


def make_seed(seed: Seed, path: Path) -> bool:
    """Write the seed's disk (read-only virtio disk or CD-ROM); returns whether it changed.

    The same seed leaves the file untouched, so this may be called before each start, also of a machine that runs.
    Only its owner can read it: user-data may hold secrets.
    """
    return write_iso(path, LABEL, seed.files())
