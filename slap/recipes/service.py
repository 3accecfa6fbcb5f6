"""Executables of a partition (wrapper), those kept running (service), and the ports they listen on (free-port)."""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from zlib import crc32

from slap.model.check import ServiceSettings
from slap.recipes.common.base import RecipeError
from slap.recipes.common.partition import InstancePart, PartReader
from slap.recipes.connection import preferred
from slap.system import files
from slap.system.network.ports import Endpoint, is_free

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MIB = 1024  # KiB
_LONGEST_STOP = 3600  # seconds

# ulimit as dash and bash have it; only for the number of processes do they not agree.
_LIMITS: dict[str, Callable[[int], str]] = {
    "limit-open-files": lambda files: f"ulimit -n {files}",
    "limit-memory": lambda mib: f"ulimit -v {mib * _MIB}",
    "limit-processes": lambda count: f"ulimit -u {count} 2>/dev/null || ulimit -p {count}",
    "limit-core": lambda mib: f"ulimit -c {mib * _MIB * 2}",  # in blocks of 512 bytes
}

_WAIT = """\
for file in {files}; do
  left={tries}
  until [ -e "$file" ]; do
    [ $left -gt 0 ] || {{ echo "$0: $file is still not there, after {patience} s" >&2; exit 1; }}
    left=$((left - 1))
    sleep 0.1
  done
done"""

# Below the ports that systems take for outgoing connections.
_LOWEST, _HIGHEST = 10240, 32767

# Ports per partition before the walk comes to those of the next one.
_BLOCK = 64


@dataclass(frozen=True)
class Script:
    """A program with all that it needs around it. Its text ends in exec: the process that was started is the program."""

    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    limits: tuple[str, ...] = ()
    nice: int = 0
    wait_for: tuple[str, ...] = ()
    patience: int = 60  # seconds for each file
    digest: str = ""
    about: str = ""  # a path: where it is not, there is nothing to be done

    def text(self) -> str:
        lines = (*self._head(), *self._unless(), *self._exports(), *self.limits, *self._waits(), self._last_line())
        return "\n".join((*lines, ""))

    def _head(self) -> tuple[str, ...]:
        about = f"# Depends on files with the digest {self.digest}" if self.digest else "# Written by buildout"
        return "#!/bin/sh", about, "set -e", f"cd {shlex.quote(str(self.folder))}"

    def _unless(self) -> tuple[str, ...]:
        return (f"[ -e {shlex.quote(self.about)} ] || exit 0",) if self.about else ()

    def _exports(self) -> list[str]:
        return [f"export {name}={shlex.quote(value)}" for name, value in self.environment.items()]

    def _waits(self) -> tuple[str, ...]:
        if not self.wait_for:
            return ()
        return (_WAIT.format(files=shlex.join(self.wait_for), tries=self.patience * 10, patience=self.patience),)

    def _last_line(self) -> str:
        nice = ("nice", "-n", str(self.nice)) if self.nice else ()
        return "exec " + shlex.join((*nice, *self.command))


def read_script(options: PartReader, folder: Path) -> Script:
    """The options that wrapper, service, cron and check-command have in common, but for the files to hash."""
    script = Script(
        read_command(options),
        folder / options.text("working-directory", "."),
        read_environment(options),
        limits=tuple(_read_limits(options)),
        nice=options.number("nice", 0),
        wait_for=options.lines("wait-for-files"),
        patience=options.number("wait-timeout", 60),
    )
    if "\0" in script.text():
        options.problem("command", "or another option has a NUL character in it: no program can be given that")
    return script


def read_command(options: PartReader) -> tuple[str, ...]:
    """`command-line` is one line of shell words; `command` is a program, with an argument a line in `arguments`."""
    words = options.shell_words("command-line")
    command = options.exact("command").strip()
    if bool(words) == bool(command):
        options.problem("command-line", "or command is needed, one of the two: what to run")
    return words or (command, *options.lines("arguments"))


def read_environment(options: PartReader) -> dict[str, str]:
    """Lines NAME = value in `environment`, and options environment.NAME, whose values may have many lines."""
    environment = {**options.pairs("environment"), **options.prefixed("environment.")}
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            options.problem("environment", f"has {name!r}, which cannot be the name of a variable")
    return environment


def _read_limits(options: PartReader) -> list[str]:
    return [limit(options.number(name)) for name, limit in _LIMITS.items() if options.exact(name)]


class Wrapper(InstancePart):
    """slap:wrapper. An executable at `output`, by default bin/NAME. Its options are in docs/reference/recipes/wrapper.md."""

    guide = "wrapper"

    def read(self, options: PartReader) -> None:
        self._script = read_script(options, self.folder)
        self._hash = options.lines("hash-files")
        self._hash_if_there = options.lines("hash-existing-files")
        self._output = self.path(options, "output", self.default_output(options))
        self.options["output"] = str(self._output)

    def default_output(self, options: PartReader) -> str:
        return f"bin/{self.file_name(options)}"

    def install(self) -> list[str]:
        return [self.place(self._output, replace(self._script, digest=self._digest()).text(), 0o700)]

    def _digest(self) -> str:
        there = [path for path in map(self.folder.joinpath, self._hash_if_there) if path.exists()]
        paths = [*map(self.folder.joinpath, self._hash), *there]
        return _digest_of(self.name, paths) if paths else ""


class Service(Wrapper):
    """slap:service. As slap:wrapper, but kept running: in etc/service, or run `once`: in etc/run. Options: stop-timeout."""

    guide = "service"

    def read(self, options: PartReader) -> None:
        super().read(options)
        self._patience = options.number("stop-timeout", 0)
        if not 0 <= self._patience <= _LONGEST_STOP:
            options.problem("stop-timeout", f"is {self._patience}: write seconds, up to {_LONGEST_STOP}")
        elif self._patience and options.flag("once"):
            options.problem("stop-timeout", "is for what is kept running, and this is run once")

    def install(self) -> list[str]:
        return [*super().install(), *([self._settings()] if self._patience else [])]

    def _settings(self) -> str:
        path = self._output.with_name(f".{self._output.name}.json")
        return self.place(path, ServiceSettings(stop_timeout=self._patience).model_dump_json())

    def default_output(self, options: PartReader) -> str:
        return f"etc/{'run' if options.flag('once') else 'service'}/{self.file_name(options)}"


def _digest_of(part: str, paths: Sequence[Path]) -> str:
    digest = sha256()
    for path in paths:
        try:
            digest.update(sha256(path.read_bytes()).digest())
        except OSError as error:
            raise RecipeError(
                f"Part [{part}] cannot hash {path}: {error.strerror}.",
                resolution="List files that earlier parts make in hash-files, others in hash-existing-files.",
            ) from error
    return digest.hexdigest()


class FreePort(InstancePart):
    """slap:free-port. Options: name, address, minimum, maximum, port. Sets `port`; the choice is kept in etc/.ports.json."""

    guide = "free-port"

    def read(self, options: PartReader) -> None:
        name = self.file_name(options)
        address = options.text("address", preferred(self.context) or None, "where to listen")
        ports = _read_range(options)
        if not ports or ports[0] < 1 or ports[-1] > 65535:
            options.problem("minimum", f"to maximum is {ports[0] if ports else 'empty'}: write ports from 1 to 65535")
        options.finish(self.guide)
        self.options["address"] = address
        self.options["port"] = str(self._port(name, address, ports))

    def _port(self, name: str, address: str, ports: range) -> int:
        book = self.folder / "etc/.ports.json"
        kept = _read(book)
        if name not in kept or kept[name].address != address or kept[name].port not in ports:
            taken = {endpoint for other, endpoint in kept.items() if other != name}
            kept[name] = self._choose(address, ports, taken)
            self.place(book, json.dumps({name: vars(endpoint) for name, endpoint in kept.items()}, indent=1))
        return kept[name].port

    def _choose(self, address: str, ports: range, taken: set[Endpoint]) -> Endpoint:
        walk = (Endpoint(address, port) for port in walk_from(self.context.instance.partition, self.name, ports))
        found = choose((endpoint for endpoint in walk if endpoint not in taken), is_free)
        if found is None:
            raise RecipeError(
                f"Part [{self.name}] finds no free port on {address}.",
                f"All ports from {ports[0]} to {ports[-1]} are taken, or the address is not one of this computer.",
                "Widen minimum and maximum, or correct the address.",
            )
        return found


def _read_range(options: PartReader) -> range:
    """From minimum to maximum, or just the one that `port` says."""
    wanted = options.number("port", 0)
    return range(wanted or options.number("minimum", _LOWEST), (wanted or options.number("maximum", _HIGHEST)) + 1)


def choose(endpoints: Iterable[Endpoint], free: Callable[[Endpoint], bool]) -> Endpoint | None:
    return next((endpoint for endpoint in endpoints if free(endpoint)), None)


def walk_from(partition: str, part: str, ports: range) -> Iterable[int]:
    """All of the ports, from a place of this partition's own.

    Partitions that share an address and are made at the same time cannot see each other's choices, for nobody listens
    yet. So each starts in a block that belongs to the number in its name.
    """
    number = re.search(r"\d+$", partition)
    block = int(number[0]) if number else crc32(partition.encode())
    start = (block * _BLOCK + crc32(part.encode()) % _BLOCK) % len(ports)
    return chain(ports[start:], ports[:start])


def _read(book: Path) -> dict[str, Endpoint]:
    return {name: Endpoint(**kept) for name, kept in json.loads(files.read_or(book, "{}")).items()}
