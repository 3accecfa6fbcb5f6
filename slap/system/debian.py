"""Debian packages, by apt, without being root and without touching what is installed.

apt keeps its state in a folder of ours and reads the machine's own sources, so that it uses the same mirrors, proxies and
credentials, and verifies signatures by the same keyrings, as the machine itself does.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

from slap.model.errors import CommandFailed, NotFound
from slap.system import files
from slap.system.clock import Clock, SystemClock
from slap.system.fetch import digest_of, keep
from slap.system.process import Command, Completed, Runner

NAME = r"[a-z0-9][a-z0-9.+-]+"
VERSION = r"[0-9][A-Za-z0-9.+:~-]*"
# Every Debian has these and what they need; usr-is-merged is how a Debian from 12 on does what usrmerge does.
EVERYWHERE = ("?essential", "usr-is-merged")
FRESH = 600.0  # seconds that lists of packages are used for; asking again costs little where nothing changed

_MACHINE = Path("/etc/apt")
_URI = re.compile(r"'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+)(?: SHA256:(?P<sha256>[0-9a-f]{64}))?")
_ONE_LINE = re.compile(r"^\s*deb(?:-src)?\s")
# Since Debian 12 these are links to their namesakes below usr, but older packages still ship files in them.
_MERGED = re.compile(r"(bin|sbin|lib|lib32|lib64|libx32)(/|$)")


class Kind(StrEnum):
    """What is in a list of packages: built ones, or their sources."""

    BINARY = "deb"
    SOURCE = "deb-src"


@dataclass(frozen=True)
class Package:
    """A file that apt would download."""

    file: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.file.split("_")[0]

    @property
    def version(self) -> str:
        return unquote(self.file.split("_")[1])

    @property
    def pin(self) -> str:
        return f"{self.name}={self.version}"


@dataclass(frozen=True)
class SourcePackage:
    """One version of a source package, and the digests of its files by their names."""

    name: str
    version: str
    files: Mapping[str, str]

    @property
    def upstream_version(self) -> str:
        return self.version.split(":")[-1].rsplit("-", 1)[0]

    def is_version(self, wanted: str) -> bool:
        """Whether it is meant by a full version, or by the upstream part of one."""
        return wanted in (self.version, self.upstream_version)

    @property
    def upstream_file(self) -> str:
        return next((file for file in self.files if ".orig.tar." in file and not file.endswith(".asc")), "")

    @property
    def key(self) -> tuple[object, ...]:
        return version_key(self.version)

    @property
    def debian_file(self) -> str:
        return next((file for file in self.files if ".debian.tar." in file), "")


class Apt:
    """apt with a private state in `folder`, for packages of one kind."""

    def __init__(self, folder: Path, kind: Kind, runner: Runner, env: Mapping[str, str]) -> None:
        self._folder = folder / kind.value
        self._kind = kind
        self._runner = runner
        self._env = env

    def prepare(self, refresh: bool = True, clock: Clock | None = None) -> None:
        """Have lists of packages that are not older than FRESH; with `refresh` false, whichever are there."""
        for name in ("state/lists/partial", "cache/archives/partial", "sources"):
            files.make_folder(self._folder / name)
        now = (clock or SystemClock()).now().timestamp()
        with files.exclusive(self._folder / "lock"):
            changed = self._write_configuration()
            stamp = self._folder / "updated"
            if refresh and (changed or now - float(files.read_or(stamp, "0")) > FRESH):
                self._apt("apt-get", "-q", "update", "--error-on=any").check()
                files.write(stamp, str(now))

    def closure(self, packages: Sequence[str]) -> tuple[Package, ...]:
        """These packages, NAME or NAME=VERSION, and all that they depend on, as on a machine with nothing installed."""
        words = ("install", "-qq", "--no-install-recommends", "--print-uris", "--", *packages)
        return parse_uris(self._asked("apt-get", *words).check().stdout)

    def sources(self, name: str) -> tuple[SourcePackage, ...]:
        """All versions of a source package."""
        return parse_sources(name, self._asked("apt-cache", "showsrc", "--only-source", "--", name).stdout)

    def download(self, pins: Iterable[str], folder: Path) -> None:
        """Packages into a folder, each verified by apt."""
        self._apt("apt-get", "-q", "download", "--", *pins, cwd=folder).check()

    def download_source(self, source: SourcePackage, folder: Path) -> None:
        """All files of a source package into a folder, each verified by apt."""
        words = ("-q", "source", "--download-only", "--", f"{source.name}={source.version}")
        self._apt("apt-get", *words, cwd=folder).check()

    def _asked(self, program: str, *words: str) -> Completed:
        """An answer from the lists, which nobody else renews meanwhile."""
        with files.exclusive(self._folder / "lock"):
            return self._apt(program, *words)

    def _apt(self, program: str, *words: str, cwd: Path | None = None) -> Completed:
        argv = (program, "-c", str(self._folder / "apt.conf"), *words)
        return self._runner.run(Command(argv, cwd or self._folder, self._env, timeout=1800))

    def _write_configuration(self) -> bool:
        files.write_if_changed(self._folder / "status", "")
        files.write_if_changed(self._folder / "apt.conf", configuration(self._folder))
        wanted = machine_sources(_MACHINE, self._kind)
        if not wanted:
            raise NotFound("apt has no sources on this machine.", f"There is none in {_MACHINE}.")
        for former in (self._folder / "sources").iterdir():
            if former.name not in wanted:
                former.unlink()
        written = [files.write_if_changed(self._folder / "sources" / name, text) for name, text in wanted.items()]
        return any(written)


def bring(apt: Apt, packages: Sequence[Package], downloads: Path, scratch: Path) -> list[Path]:
    """The packages' files, kept in a cache by their digests; raises NotFound for one that apt does not give as promised."""
    missing = [package for package in packages if not (downloads / package.sha256).exists()]
    if missing:
        arrived = scratch / "debs"
        files.make_folder(arrived)
        files.make_folder(downloads)
        apt.download([package.pin for package in missing], arrived)
        by_digest = {digest_of(path): path for path in arrived.iterdir()}
        for package in missing:
            if package.sha256 not in by_digest:
                raise NotFound(f"apt did not download {package.file} as its index has it.")
            keep(by_digest[package.sha256], downloads / package.sha256)
    return [downloads / package.sha256 for package in packages]


def merged(name: str) -> str:
    """Where a packaged file is on a machine with merged /usr."""
    return f"usr/{name}" if _MERGED.match(name) else name


def configuration(folder: Path) -> str:
    """What differs from the machine's configuration: places, no hooks, no user to change to, digests by SHA-256."""
    places = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder / "sources",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::ForceHash": "SHA256",
        # As a plain Debian has them; images of containers save the room, and pay for it with a second at each command.
        "Acquire::GzipIndexes": "false",
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
    }
    hooks = ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success")
    lines = [f'{name} "{value}";' for name, value in places.items()] + [f"#clear {hook};" for hook in hooks]
    return "\n".join([*lines, ""])


def machine_sources(etc: Path, kind: Kind) -> dict[str, str]:
    """The machine's own sources, of one kind of package, by the name of their file."""
    found = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    texts = {path.name: of_kind(path.suffix, path.read_text(), kind) for path in found if path.is_file()}
    return {name: text for name, text in texts.items() if text.strip()}


def of_kind(suffix: str, text: str, kind: Kind) -> str:
    """A file of sources with all of its entries of one kind, each once; empty for files that apt would not read."""
    if suffix == ".list":
        lines = [line for line in text.splitlines() if _ONE_LINE.match(line)]
        return "".join(f"{line}\n" for line in dict.fromkeys(_ONE_LINE.sub(f"{kind} ", line) for line in lines))
    if suffix == ".sources":
        stanzas = re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text).strip())
        return (
            "\n\n".join(dict.fromkeys(re.sub(r"(?mi)^Types:.*$", f"Types: {kind}", stanza) for stanza in stanzas))
            + "\n"
        )
    return ""


def parse_uris(text: str) -> tuple[Package, ...]:
    """What `apt-get --print-uris` prints. A file without a SHA-256 cannot be trusted, so it is an error."""
    packages = []
    for match in _URI.finditer(text):
        if not match["sha256"]:
            raise CommandFailed(f"apt knows no SHA-256 of {match['file']}.", "Its source's index has none.")
        packages.append(Package(match["file"], int(match["size"]), match["sha256"]))
    return tuple(packages)


def parse_sources(name: str, text: str) -> tuple[SourcePackage, ...]:
    """What `apt-cache showsrc` prints: stanzas, with the digests of files in one field of several lines."""
    packages = []
    for stanza in text.split("\n\n"):
        version = re.search(r"(?m)^Version: (\S+)$", stanza)
        digests = re.search(r"(?m)^Checksums-Sha256:\s*\n((?: .*(?:\n|$))+)", stanza)
        if version and digests:
            rows = [shlex.split(line) for line in digests[1].splitlines()]
            packages.append(SourcePackage(name, version[1], {row[2]: row[0] for row in rows if len(row) == 3}))
    return tuple(packages)


def version_key(version: str) -> tuple[object, ...]:
    """What versions are to be sorted by, as Debian orders them: `~` before the end, letters before other signs."""
    epoch, _, rest = version.rpartition(":")
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return (int(epoch or 0), _part_key(upstream), _part_key(revision))


def _part_key(text: str) -> tuple[object, ...]:
    pieces = re.findall(r"(\D*)(\d*)", text)
    return tuple(((*map(_weight, signs), 0), int(digits or 0)) for signs, digits in pieces)


def _weight(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isalpha() else ord(sign) + 256
