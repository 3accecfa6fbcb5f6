"""libvirt's qemu driver, embedded in this process for as long as it is asked something.

Machines live on between two such times, and are found again by what the driver keeps in its folder. One process at a time
holds a folder; others wait for it. What takes long (a backup) makes others wait as long.
"""

import fcntl
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from slap.model.errors import CommandFailed, InvalidInput, NotFound
from slap.system import environment, files
from slap.system.disk.file import must_grow
from slap.system.libvirt.capabilities import leave_capabilities, take_capabilities

try:
    import libvirt
    import libvirt_qemu
except ImportError:
    libvirt = libvirt_qemu = None

# sun_path of a Unix socket, unix(7); the monitor's lies below the driver's folder at lib/qemu/domain-ID-NAME/monitor.sock.
_LONGEST_SOCKET_PATH = 107
_LONGEST_BELOW = len("/lib/qemu/domain-999-/monitor.sock")
_LET_GO = 10.0  # seconds
# qemu writes its log by itself: no daemon is started for it.
_SETTINGS = 'stdio_handler = "file"\n'
_PACKAGES = "qemu-system-x86 qemu-utils libvirt-daemon libvirt-daemon-driver-qemu"


@dataclass(frozen=True)
class Seen:
    """A machine that runs. Memory in MiB."""

    pid: int
    memory: int
    cpus: int
    kvm: bool


class Driver(Protocol):
    """All of it raises CommandFailed, in qemu's words, for what it cannot do."""

    def look(self, name: str) -> Seen | None:
        """None for a machine that does not run."""

    def start(self, xml: str) -> None: ...

    def ask_to_end(self, name: str) -> None:
        """By the power button: the guest may take its time, or not listen."""

    def destroy(self, name: str) -> None:
        """End it now; nothing happens to one that does not run."""

    def forget(self, name: str) -> None:
        """Nothing is known of it afterwards; one that runs is ended."""

    def monitor(self, name: str, command: str) -> str:
        """What qemu's own monitor answers to a command of the human kind: mostly nothing, or what went wrong."""

    def ask(self, name: str, command: str, arguments: Mapping[str, Any]) -> Any:
        """What qemu answers to a command of QMP, its language for programs."""

    def set_memory(self, name: str, mebibytes: int) -> None: ...

    def set_cpus(self, name: str, count: int) -> None: ...

    def grow(self, name: str, disk: Path, size: int) -> None:
        """Raises InvalidInput for a disk that is larger: libvirt would cut it off."""


@contextmanager
def open_driver(folder: Path, name: str, shared: Path | None = None) -> Iterator["LibvirtDriver"]:
    """The driver of a partition's machine. What it finds out about qemu it shares with others by a folder."""
    check_installed()
    check_length(folder, name)
    files.make_folder(folder, 0o700)
    (folder / "etc").mkdir(exist_ok=True)
    files.write_if_changed(folder / "etc/qemu.conf", _SETTINGS, 0o600)
    with files.exclusive(folder / "driver.lock"):
        if shared is not None:
            take_capabilities(folder, shared)
        driver = LibvirtDriver(folder)
        try:
            yield driver
        finally:
            driver.close()
            if shared is not None:
                leave_capabilities(folder, shared)


def check_installed() -> None:
    """Raises NotFound with the line to type."""
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils")):
        if not environment.find_program(program):
            raise NotFound(
                f"This computer has no {program}.",
                f"It belongs to Debian's package {package}.",
                f"Type `apt-get install --no-install-recommends {_PACKAGES}` as root.",
            )
    if libvirt is None:
        raise NotFound(
            "The node's Python has no libvirt.",
            "Virtual machines are run by it.",
            f"Type `apt-get install --no-install-recommends {_PACKAGES} libvirt-dev python3-dev gcc pkgconf` as root,"
            " then `make install` in the project's folder.",
        )


def check_length(folder: Path, name: str) -> None:
    if len(str(folder)) + len(name) + _LONGEST_BELOW > _LONGEST_SOCKET_PATH:
        raise InvalidInput(
            f"The path of the machine's folder is too long: {folder}.",
            f"Unix sockets are made in it, whose paths end at {_LONGEST_SOCKET_PATH} characters.",
            "Choose a shorter instance_root in slapos.cfg.",
        )


class LibvirtDriver:
    """The real one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _events()
        _wait_for_former(folder)
        with _in_words("libvirt cannot be used"):
            self._connection = libvirt.open(f"qemu:///embed?root={folder}")

    def close(self) -> None:
        with _in_words("libvirt cannot be left"):
            self._connection.close()

    def look(self, name: str) -> Seen | None:
        domain = self.find(name)
        if domain is None:
            return None
        with _in_words(f"Machine {name} cannot be looked at"):
            if not domain.isActive():
                return None
            _, _, memory, cpus, _ = domain.info()
            return Seen(self._pid(name), memory >> 10, cpus, "type='kvm'" in domain.XMLDesc()[:40])

    def start(self, xml: str) -> None:
        with _in_words("The machine cannot be started"):
            self._connection.defineXML(xml).create()

    def ask_to_end(self, name: str) -> None:
        with _unless_ended(f"Machine {name} cannot be asked to end"):
            self._must(name).shutdown()

    def destroy(self, name: str) -> None:
        domain = self.find(name)
        if domain is not None and domain.isActive():
            with _unless_ended(f"Machine {name} cannot be ended"):
                domain.destroy()

    def forget(self, name: str) -> None:
        self.destroy(name)
        domain = self.find(name)
        if domain is not None:
            with _in_words(f"Machine {name} cannot be forgotten"):
                domain.undefine()

    def monitor(self, name: str, command: str) -> str:
        with _in_words(f"Machine {name} refuses {command}"):
            human = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            return str(libvirt_qemu.qemuMonitorCommand(self._must(name), command, human)).strip()

    def ask(self, name: str, command: str, arguments: Mapping[str, Any]) -> Any:
        with _in_words(f"Machine {name} refuses {command}"):
            words = json.dumps({"execute": command, "arguments": dict(arguments)})
            answer = json.loads(libvirt_qemu.qemuMonitorCommand(self._must(name), words, 0))
        if "error" in answer:
            raise CommandFailed(f"Machine {name} refuses {command}.", answer["error"]["desc"])
        return answer["return"]

    def set_memory(self, name: str, mebibytes: int) -> None:
        with _in_words(f"Machine {name} cannot have {mebibytes} MiB of memory"):
            self._must(name).setMemoryFlags(mebibytes << 10, _live())

    def set_cpus(self, name: str, count: int) -> None:
        with _in_words(f"Machine {name} cannot have {count} processors"):
            self._must(name).setVcpusFlags(count, _live())

    def grow(self, name: str, disk: Path, size: int) -> None:
        with _in_words(f"{disk.name} of machine {name} cannot be made larger"):
            domain = self._must(name)
            there, *_ = domain.blockInfo(str(disk))
            if must_grow(disk.stem, there, size):
                domain.blockResize(str(disk), size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def find(self, name: str) -> Any:
        """libvirt's own object, None for what it does not know; for what is not said in this interface."""
        with _in_words("libvirt does not answer"):
            return next((domain for domain in self._connection.listAllDomains() if domain.name() == name), None)

    def _must(self, name: str) -> Any:
        domain = self.find(name)
        if domain is None:
            raise CommandFailed(f"There is no machine {name}.", resolution="Start its service first.")
        return domain

    def _pid(self, name: str) -> int:
        return int(files.read_or(self._folder / f"run/qemu/{name}.pid", "0").strip() or 0)


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    """libvirt's errors as ours."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise CommandFailed(f"{what}.", error.get_error_message() or str(error)) from error


@contextmanager
def _unless_ended(what: str) -> Iterator[None]:
    """The same, for what is no error when the machine ended meanwhile."""
    try:
        with _in_words(what):
            yield
    except CommandFailed as error:
        if not isinstance(error.__cause__, libvirt.libvirtError):
            raise
        if error.__cause__.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


def _wait_for_former(folder: Path) -> None:
    """A process that let go of the folder holds libvirt's own lock for as long as it takes to end, or become another."""
    path, deadline = folder / "run/qemu/driver.pid", time.monotonic() + _LET_GO
    while path.exists() and not _is_free(path) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_free(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _live() -> int:
    return int(libvirt.VIR_DOMAIN_AFFECT_LIVE)


_looping = threading.Event()


def _events() -> None:
    """The driver hears of its machines by events, which somebody has to wait for."""
    if not _looping.is_set():
        libvirt.registerErrorHandler(lambda context, error: None, None)  # each is raised as well
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_loop, name="libvirt-events", daemon=True).start()
        _looping.set()


def _loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
