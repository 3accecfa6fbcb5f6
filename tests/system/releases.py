"""Software releases built for a test, by the real buildout in a process of its own."""

import os
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from slap.system import environment, files
from slap.system.environment import own_program
from slap.system.process import Command, Completed, SystemRunner
from tests.system.cloud import as_nobody

# An editable project is part of every signature by the digest of its whole folder: here it does not change meanwhile.
_BUILDOUT = """
import sys
from zc.buildout import buildout
import slap
from pathlib import Path
buildout._dir_hashes[str(Path(slap.__file__).parents[1])] = "the code under test"
buildout.main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Release:
    """A folder that a release is built in."""

    folder: Path
    cache: Path

    def build(self, profile: str, *options: str, user: int | None = None) -> Completed:
        head = f"[buildout]\ndirectory = {self.folder}\ndownload-cache = {self.cache}\nnewest = false\n"
        files.write(self.folder / "buildout.cfg", dedent(profile).replace("[buildout]\n", head, 1))
        argv = (str(own_program("python")), "-c", _BUILDOUT, "-c", str(self.folder / "buildout.cfg"), *options)
        env = environment.clean(Path(environment.variable("HOME", "/")) if user is None else self.folder)
        return SystemRunner().run(Command(as_nobody(argv) if user else argv, self.folder, env, timeout=600))

    def part(self, name: str) -> Path:
        return self.folder / "parts" / name

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the release prints, started with nothing of our environment."""
        argv = (str(self.folder / "parts" / program), *arguments)
        return SystemRunner().run(Command(argv, self.folder, {}, timeout=60)).check().stdout

    def is_tidy(self) -> bool:
        """Whether nothing is left of the making of parts."""
        return not os.listdir(self.folder / "parts" / ".aside")


def make(folder: Path) -> Release:
    for name in ("release", "cache"):
        files.make_folder(folder / name)
    return Release(folder / "release", folder / "cache")
