"""A machine is run, changed and ended by what its document says, with a driver whose machines are values."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import CommandFailed, InvalidInput
from slap.model.node import PUBLISHED_FILE
from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ImageState, ReadyImage, state_file
from slap.model.vm.machine import MACHINE_FILE
from slap.model.vm.parameters import Place, machine_of, read_parameters
from slap.model.vm.phase import Stage
from slap.node.core.kvm_probe import Prober
from slap.node.vm import machine
from slap.node.vm.backup_schedule import BackupScheduler
from slap.node.vm.backup_store import Backups
from slap.node.vm.folder import MachineFolder
from slap.node.vm.images import Images
from slap.node.vm.machine import Tools
from slap.node.vm.restore import MachineHistory
from slap.node.vm.start import MachineStarter
from slap.system.clock import FakeClock
from slap.system.disk.file import create_disk
from slap.system.disk.qemu_img import Past
from slap.system.libvirt.fake import FakeDriver
from slap.system.process import SystemRunner

NAME, ADDRESS = "slappart3", "127.77.0.5"
TINY = ImageEntry(name="tiny")
MIB = 1 << 20


@dataclass
class World:
    """A partition, a store of images, and a driver."""

    folder: Path
    driver: FakeDriver = field(default_factory=FakeDriver)
    clock: FakeClock = field(default_factory=FakeClock)

    def order(self, **said: Any) -> None:
        ordered = {name.replace("_", "-"): value for name, value in said.items()}
        parameters = read_parameters({"image": "tiny", "nat-rules": [80], "acceleration": "emulation", **ordered})
        wanted = machine_of(parameters, Place(NAME, "INST-7", "web", ADDRESS))
        path = self.folder / MACHINE_FILE
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted.model_dump_json())

    def image(self, state: ImageState) -> None:
        path = state_file(self.folder / "images", TINY)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(state.model_dump_json())

    @property
    def tools(self) -> Tools:
        folder, runner = MachineFolder(self.folder), SystemRunner()
        images = Images(self.folder / "images", self.clock)
        past = Past(runner)
        known = MachineHistory(self.folder, past, Backups(self.folder, past, _no_vault))
        return Tools(
            folder=folder,
            images=images,
            maker=MachineStarter(folder, images, runner),
            prober=Prober(runner, folder.driver / "acceleration.json"),
            clock=self.clock,
            environment={"SLAPOS_PARTITION": str(self.folder)},
            driver=lambda name: self._driver(),
            keeper=BackupScheduler(self.folder, known, self.clock, lambda name: self._driver()),
        )

    @contextmanager
    def _driver(self) -> Iterator[FakeDriver]:
        yield self.driver

    def stage(self) -> tuple[Stage, str]:
        phase = MachineFolder(self.folder).phase()
        assert phase
        return phase.stage, phase.words


def _no_vault(*_: object) -> Any:
    raise AssertionError("nothing is backed up here")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    image = tmp_path / "tiny.qcow2"
    create_disk(SystemRunner(), image, "qcow2", 8 * MIB)
    made.image(ReadyImage(path=image, sha512="ab" * 64, format="qcow2", virtual_size=8 * MIB))
    made.order()
    return made


class Killed(BaseException):
    """Whoever was at work is no more."""


@dataclass
class Deadly(FakeDriver):
    """Does what it is asked, but whoever asked does not live to see it."""

    after: str = ""

    def start(self, xml: str) -> None:
        super().start(xml)
        self._kill("start")

    def monitor(self, name: str, command: str) -> str:
        answer = super().monitor(name, command)
        self._kill(command.split()[0])
        return answer

    def _kill(self, verb: str) -> None:
        if verb == self.after:
            self.after = ""
            raise Killed


def rules(*guests: int) -> list[str]:
    return [f"tcp:{ADDRESS}:{port + 10000}-:{port}" for port in guests]


def test_it_is_started_once(world: World) -> None:
    machine.run(world.tools)
    machine.run(world.tools)
    assert world.driver.asked.count(f"start {NAME}") == 1
    assert world.driver.rules[NAME] == rules(22, 80)
    assert world.stage() == (Stage.BOOTING, "")
    assert '"acceleration": "emulation"' in (world.folder / PUBLISHED_FILE).read_text()
    assert (world.folder / "srv/disk/root.qcow2").exists()


def test_an_image_is_waited_for(world: World) -> None:
    ready = world.tools.images.find(TINY)
    world.image(FetchingImage(done=63 * MIB, size=100 * MIB))
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        world.image(ready)

    world.tools.images.wait(lambda: (TINY,), tell)
    assert told == ["image tiny: 63% of 100 MiB"]


def test_an_image_that_cannot_be_had_is_told(world: World) -> None:
    world.image(FailedImage(message="The digest is another one."))
    with pytest.raises(CommandFailed, match="digest"):
        machine.run(world.tools)
    assert world.stage() == (Stage.FAILED, "Image tiny cannot be had.\nThe digest is another one.")
    assert world.driver.asked == []


def test_ports_change_while_it_runs(world: World) -> None:
    machine.run(world.tools)
    world.order(nat_rules=[81])
    done = machine.apply(world.tools)
    assert [str(action) for action in done.live] == ["close port 80", "open port 81"]
    assert world.driver.rules[NAME] == rules(22, 81)
    assert machine.apply(world.tools).live == ()


def test_a_port_that_is_taken_keeps_no_other_from_coming_and_going(world: World) -> None:
    """Tried again and again, until what is ordered is possible."""
    machine.run(world.tools)
    world.driver.taken = {10082}
    world.order(nat_rules=[80, 81, 82])
    for _ in range(2):
        with pytest.raises(CommandFailed, match=f"Port 10082 of {ADDRESS} is taken"):
            machine.apply(world.tools)
    assert world.driver.rules[NAME] == rules(22, 80, 81)
    world.order(nat_rules=[80])
    machine.apply(world.tools)
    assert world.driver.rules[NAME] == rules(22, 80)


def test_a_port_is_opened_after_whoever_opened_it_was_killed(world: World) -> None:
    world.driver = Deadly(after="hostfwd_add")
    machine.run(world.tools)
    world.order(nat_rules=[80, 81])
    with pytest.raises(Killed):
        machine.apply(world.tools)
    machine.apply(world.tools)
    assert world.driver.rules[NAME] == rules(22, 80, 81)


def test_a_machine_is_changed_after_whoever_started_it_was_killed(world: World) -> None:
    world.driver = Deadly(after="start")
    with pytest.raises(Killed):
        machine.run(world.tools)
    machine.run(world.tools)
    world.order(nat_rules=[81])
    machine.apply(world.tools)
    assert world.driver.rules[NAME] == rules(22, 81)


def test_what_takes_a_restart_ends_it_and_starts_it_again(world: World) -> None:
    machine.run(world.tools)
    world.order(ram="2 GiB")
    assert machine.apply(world.tools).restart == ("memory",)
    assert world.stage() == (Stage.RESTARTING, "for memory")
    assert MachineFolder(world.folder).again.exists()
    machine.run(world.tools)
    assert not MachineFolder(world.folder).again.exists()
    assert world.driver.machines[NAME].memory == 2048


@pytest.mark.parametrize(
    ("jit", "cpus", "live"),
    [
        ("gen code size       40000000/100000000\nTB count 7", 2, True),
        ("gen code size       60000000/100000000", 2, False),
        ("gen code size       1/33472512", 9, False),
        ("", 2, False),
    ],
)
def test_a_processor_is_plugged_in_where_qemu_has_room_for_what_it_translates(
    world: World, jit: str, cpus: int, live: bool
) -> None:
    """Without, qemu ends at that moment; the machine is shut down in time, and starts with it."""
    world.order(cpu_max=9)
    machine.run(world.tools)
    world.driver.answers["info jit"] = jit
    world.order(cpu=cpus, cpu_max=9)
    done = machine.apply(world.tools)
    assert ([str(each) for each in done.live], done.restart) == (
        ([f"give it {cpus} processors"], ()) if live else ([], ("cpus",))
    )
    machine.run(world.tools)
    assert world.driver.machines[NAME].cpus == cpus


def test_nothing_is_applied_to_what_does_not_run(world: World) -> None:
    world.order(ram="2 GiB")
    assert machine.apply(world.tools).restart == ()
    assert world.driver.asked == []


def test_a_guest_is_asked_again_and_then_switched_off(world: World) -> None:
    world.order(stop_timeout=11)
    machine.run(world.tools)
    world.driver.deaf = True
    machine.stop(world.tools)
    assert world.driver.asked.count(f"ask {NAME}") == 3
    assert world.driver.asked[-2:] == [f"destroy {NAME}", f"forget {NAME}"]
    assert world.stage() == (Stage.STOPPED, "")


def test_a_port_that_is_taken_is_told(world: World) -> None:
    world.driver.taken = {10080}
    with pytest.raises(CommandFailed, match=f"Port 10080 of {ADDRESS} is taken"):
        machine.run(world.tools)


def test_a_disk_never_becomes_smaller(world: World) -> None:
    world.order(disk_size="16 MiB")
    machine.run(world.tools)
    machine.stop(world.tools)
    world.order(disk_size="12 MiB")
    with pytest.raises(InvalidInput, match="cannot become smaller"):
        machine.run(world.tools)


def size_of_root(world: World) -> int:
    return world.driver.sizes[str(world.folder / "srv/disk/root.qcow2")]


def test_a_disk_grows_while_it_runs(world: World) -> None:
    machine.run(world.tools)
    assert size_of_root(world) == 8 * MIB
    world.order(disk_size="16 MiB")
    assert [str(each) for each in machine.apply(world.tools).live] == ["give disk root 16 MiB"]
    assert size_of_root(world) == 16 * MIB


@pytest.mark.parametrize("before", [["16 MiB"], ["16 MiB", None], [None]])
@pytest.mark.parametrize("more", [{}, {"ram": "2 GiB"}])
def test_a_disk_never_becomes_smaller_while_it_runs(
    world: World, before: list[str | None], more: dict[str, Any]
) -> None:
    """Whatever was ordered since it was made: what counts is what it is. Nothing else of the order is done either."""
    for size in before:
        world.order(**({"disk_size": size} if size else {}))
        machine.run(world.tools)
        machine.apply(world.tools)
    held, asked = size_of_root(world), list(world.driver.asked)
    world.order(disk_size=f"{held // MIB - 1} MiB", nat_rules=[81], **more)
    with pytest.raises(InvalidInput, match="Disk root cannot become smaller"):
        machine.apply(world.tools)
    assert (size_of_root(world), world.driver.asked) == (held, asked)


def test_memory_that_grew_to_all_that_it_may_be_is_taken_back(world: World) -> None:
    world.order(ram="1 GiB", ram_max="1 GiB")
    machine.run(world.tools)
    world.order(ram="512 MiB", ram_max="1 GiB")
    assert [str(each) for each in machine.apply(world.tools).live] == ["give it 512 MiB of memory"]
    assert world.driver.machines[NAME].memory == 512


def test_a_disk_that_is_smaller_than_its_image_is_not_made(world: World) -> None:
    world.order(disk_size="4 MiB")
    with pytest.raises(InvalidInput, match="smaller than its image"):
        machine.run(world.tools)
    assert list((world.folder / "srv/disk").iterdir()) == []
