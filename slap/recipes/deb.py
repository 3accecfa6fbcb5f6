"""slap:deb: Debian packages with what they depend on, unpacked into a part, and runnable there."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from slap.model.cache.material import Material, MaterialKind
from slap.model.errors import NotFound
from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import SoftwarePart
from slap.recipes.common.source import apt_for
from slap.system import archive, debian, files
from slap.system.debian import merged

LOCK_FILE = "debian.lock"
PROGRAMS = ("usr/bin/*", "usr/sbin/*", "usr/games/*")
HERE = "@@LOCATION@@"  # stands for the part's final place in options

_PIN = re.compile(rf"({debian.NAME})=({debian.VERSION})")
# Where modules of interpreters are, by the variable that tells of them.
_MODULES = {
    "PERL5LIB": "usr/share/perl5",
    "PYTHONPATH": "usr/lib/python3/dist-packages",
}


class Recipe(SoftwarePart):
    """Options: packages, lock, excludes, dependencies, wrap, library-folders, environment."""

    guide = "deb"

    def read(self, options: OptionReader) -> None:
        self.packages = options.words("packages")
        self.excludes = frozenset(options.words("excludes"))
        self.with_dependencies = options.flag("dependencies", True)
        self.lock = options.lines("lock")
        self.wrap = (*PROGRAMS, *options.words("wrap"))
        self.library_folders = options.words("library-folders")
        self.variables = {key: self._placed(value) for key, value in options.pairs("environment").items()}
        if not self.packages:
            options.problem("packages", "is missing: names of Debian packages")
        self._check_names(options)

    def _check_names(self, options: OptionReader) -> None:
        for name in self.packages:
            if not re.fullmatch(debian.NAME, name):
                options.problem("packages", f"has {name!r}, which is no name of a package (versions go to lock)")
        for line in self.lock:
            if not _PIN.fullmatch(line):
                options.problem("lock", f"has {line!r}: write name=version")

    def _placed(self, text: str) -> str:
        return text.replace(HERE, str(self.location))

    def make(self, part: Path) -> None:
        apt = apt_for(self, debian.Kind.BINARY)
        packages = self._chosen(apt)
        for path in self._fetched(apt, packages):
            archive.unpack(path, part, archive.Unpacking(rename=merged, rebase_links=True))
        self.materials.extend(map(material, packages))
        write_wrappers(part, self.location, self.wrap, self._variables(part))
        files.write(part / LOCK_FILE, "".join(f"{package.pin}\n" for package in packages))

    def _chosen(self, apt: debian.Apt) -> tuple[debian.Package, ...]:
        locked = {line.partition("=")[0]: line for line in self.lock}
        wanted = (*(locked.get(name, name) for name in self.packages), *self.lock)
        everywhere = {package.name for package in apt.closure(debian.EVERYWHERE)} | self.excludes
        found = choose(apt.closure(tuple(dict.fromkeys(wanted))), everywhere - set(self.packages))
        if not self.with_dependencies:
            found = tuple(package for package in found if package.name in self.packages)
        lacking = [package.pin for package in found if self.lock and package.pin not in self.lock]
        if lacking:
            raise self._incomplete(lacking, found)
        return found

    def _incomplete(self, lacking: Sequence[str], found: Sequence[debian.Package]) -> RecipeError:
        whole = "\n".join(f"    {package.pin}" for package in found)
        return RecipeError(
            f"Part [{self.name}]: the lock is not complete.",
            f"It lacks {', '.join(lacking)}.",
            f"If these are right, write\nlock =\n{whole}",
        )

    def _fetched(self, apt: debian.Apt, packages: Sequence[debian.Package]) -> list[Path]:
        """The packages' files, in the cache by their digests."""
        missing = [package for package in packages if not (self.downloads / package.sha256).exists()]
        self.logger.info(
            "%s Debian packages, %s of them to download (%.1f MB)",
            len(packages), len(missing), sum(package.size for package in missing) / 1e6,
        )  # fmt: skip
        try:
            return debian.bring(apt, packages, self.downloads, self.scratch)
        except NotFound as error:
            raise RecipeError(f"Part [{self.name}]: {error.brief}") from error

    def _variables(self, part: Path) -> dict[str, str]:
        folders = [*library_folders(part), *(part / folder for folder in self.library_folders)]
        lists = {"PATH": [part / "bin"], "LD_LIBRARY_PATH": folders}
        lists |= {name: [part / folder] for name, folder in _MODULES.items() if (part / folder).is_dir()}
        found = {name: _joined(paths, part, self.location) for name, paths in lists.items() if paths}
        own = {name: shlex.quote(value) for name, value in self.variables.items()}
        return {name: f"{value}${{{name}:+:${name}}}" for name, value in found.items()} | own


def material(package: debian.Package) -> Material:
    return Material(
        kind=MaterialKind.DEB,
        name=package.name,
        version=package.version,
        architecture=package.file.removesuffix(".deb").rpartition("_")[2],
        digests={"sha256": package.sha256},
    )


def choose(closure: Sequence[debian.Package], left_out: frozenset[str] | set[str]) -> tuple[debian.Package, ...]:
    """What to unpack of all that is needed: what is not on every Debian anyway."""
    return tuple(package for package in closure if package.name not in left_out)


def library_folders(part: Path) -> list[Path]:
    """Where libraries are: the usual places, and those that packages tell the loader of."""
    told = [line for path in part.glob("etc/ld.so.conf.d/*.conf") for line in path.read_text().splitlines()]
    own = [part / merged(line.strip().lstrip("/")) for line in told if line.startswith("/")]
    usual = [*part.glob("usr/lib/*-linux-gnu*"), part / "usr/lib", part / "usr/lib64"]
    return [folder for folder in dict.fromkeys([*own, *usual]) if any(folder.glob("*.so*"))]


def write_wrappers(part: Path, location: Path, patterns: Sequence[str], variables: dict[str, str]) -> None:
    """A starter in bin/ for each program, which sets the variables; the first program of a name wins."""
    files.make_folder(part / "bin")
    programs = {path.name: path for pattern in reversed(patterns) for path in part.glob(pattern) if _is_program(path)}
    for name, path in programs.items():
        text = wrapper(final(path, part, location), interpreter(path, part, location), variables)
        files.write(part / "bin" / name, text, 0o755)


def wrapper(program: Path, runs_in: Path | None, variables: dict[str, str]) -> str:
    exports = "".join(f"export {name}={value}\n" for name, value in variables.items())
    words = " ".join(shlex.quote(str(word)) for word in (runs_in, program) if word)
    return f'#!/bin/sh\n# Runs this part\'s own program with its own libraries.\n{exports}exec {words} "$@"\n'


def interpreter(script: Path, part: Path, location: Path) -> Path | None:
    """The starter of the interpreter that a script names, where this part has that interpreter itself."""
    with script.open("rb") as file:
        first = file.readline(256).decode(errors="replace")
    words = first.removeprefix("#!").split()
    if not first.startswith("#!") or not words:
        return None
    own = part / merged(words[0].lstrip("/"))
    return location / "bin" / own.name if own.name != "env" and _is_program(own) else None


def final(path: Path, part: Path, location: Path) -> Path:
    """Where something in the part will be once the part is in place."""
    return location / path.relative_to(part)


def _is_program(path: Path) -> bool:
    return path.is_file() and bool(path.stat().st_mode & 0o111)


def _joined(paths: Sequence[Path], part: Path, location: Path) -> str:
    return ":".join(shlex.quote(str(final(path, part, location))) for path in paths)
