"""Paths of a machine in its partition."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from slap.model.errors import InvalidInput, NotFound
from slap.model.node import PUBLISHED_FILE
from slap.model.vm.machine import DISK_FOLDER, MACHINE_FILE, MACHINE_FOLDER, Disk, Machine
from slap.model.vm.phase import PHASE_FILE, Phase, Stage
from slap.system import files


@dataclass(frozen=True)
class MachineFolder:
    """The partition's folder with the paths of a machine's files."""

    path: Path

    @property
    def driver(self) -> Path:
        """libvirt's folder; its path is short, since sockets are in it."""
        return self.path / MACHINE_FOLDER

    @property
    def seed(self) -> Path:
        return self.driver / "seed.iso"

    @property
    def console_socket(self) -> Path:
        return self.driver / "console.sock"

    @property
    def vnc_socket(self) -> Path:
        return self.driver / "vnc.sock"

    @property
    def again(self) -> Path:
        """A file that exists when the machine is to be started again as soon as it ends."""
        return self.driver / "again"

    def disk(self, disk: Disk) -> Path:
        return self.path / DISK_FOLDER / f"{disk.name}.{disk.format}"

    def wanted(self) -> Machine:
        """The document that the recipe wrote last."""
        return _read(self.path / MACHINE_FILE)

    def running(self) -> Machine | None:
        """The running machine's document with all live changes; None if it never ran."""
        path = self.driver / "running.json"
        return _read(path) if path.exists() else None

    def remember(self, machine: Machine) -> None:
        files.write(self.driver / "running.json", machine.model_dump_json(indent=1), 0o600)

    def phase(self) -> Phase | None:
        try:
            return Phase.model_validate_json((self.path / PHASE_FILE).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def tell(self, stage: Stage, words: str = "", acceleration: str = "") -> None:
        """Write the machine's phase."""
        before = self.phase()
        since = before.since if before is not None and before.stage is stage else time.time()
        phase = Phase(stage=stage, words=words, since=since, acceleration=acceleration)
        if phase != before:
            files.make_folder(self.driver, 0o700)
            files.write(self.path / PHASE_FILE, phase.model_dump_json(), 0o600)

    def publish(self, more: dict[str, object]) -> None:
        """Add connection parameters that are known only at run time."""
        path = self.path / PUBLISHED_FILE
        known = json.loads(files.read_or(path, "{}"))
        files.write_if_changed(path, json.dumps({**known, **more}, sort_keys=True), 0o600)


def _read(path: Path) -> Machine:
    try:
        return Machine.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NotFound(
            f"There is no machine in {path.parents[1]}.", f"{path} is not there.", "Type this in a partition of one."
        ) from None
    except ValidationError as error:
        raise InvalidInput(f"{path} is wrong.", str(error), "Have its partition processed again.") from error
