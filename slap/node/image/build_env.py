"""The environment that images are built in: programs, packages, scratch folder."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import NotFound
from slap.system import archive, debian, environment
from slap.system.debian import Apt, Kind, Package
from slap.system.process import Runner

_NOWHERE = "."  # a name by which nothing is unpacked

Say = Callable[[str], None]


@dataclass(frozen=True)
class BuildEnvironment:
    """`scratch` is an empty folder, and `downloads` keeps packages by their digests for the next time."""

    runner: Runner
    scratch: Path
    downloads: Path
    say: Say = lambda words: None

    def apt(self) -> Apt:
        """apt with today's package lists."""
        apt = Apt(self.downloads / "apt", Kind.BINARY, self.runner, environment.clean(self.scratch))
        apt.prepare()
        return apt

    def unpacked(self, apt: Apt, packages: Sequence[Package], folder: Path, wanted: re.Pattern[str]) -> Path:
        """Unpack the wanted paths of packages into a folder."""

        def rename(name: str) -> str:
            return path if wanted.match(path := debian.merged(name)) else _NOWHERE

        lacking = [each for each in packages if not (self.downloads / each.sha256).exists()]
        if lacking:
            self.say(f"Fetching {len(lacking)} packages, {sum(each.size for each in lacking) >> 20} MiB")
        folder.mkdir()
        for path in debian.bring(apt, packages, self.downloads, self.scratch):
            archive.unpack(path, folder, archive.Unpacking(rename=rename, rebase_links=True))
        return folder


def chosen(closure: Sequence[Package], names: Sequence[str]) -> tuple[Package, ...]:
    """The packages of these names, with the kernel; raises NotFound for a missing one."""
    found = tuple(each for each in closure if each.name in names or is_kernel(each))
    if lacking := sorted(set(names) - {each.name for each in found}):
        raise NotFound(f"apt knows no package {', '.join(lacking)}.", resolution="Check the machine's sources of apt.")
    return found


def is_kernel(package: Package) -> bool:
    """Whether a package contains a kernel; the meta-package only depends on one."""
    return package.name.startswith("linux-image-") and package.name.removeprefix("linux-image-")[0].isdigit()
