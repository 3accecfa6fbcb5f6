"""Parts of software releases: made aside, then renamed into place, so that a part is whole or not there."""

import errno
import logging
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from slap.model.cache.material import MATERIALS, MATERIALS_FOLDER, Material
from slap.model.errors import SlapError
from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.shared import MATERIALS_FILE, ask_node, held, part_digest
from slap.system import environment, files
from slap.system.process import Command, Runner, SystemRunner

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*")
_TAIL = 40  # lines of a log in an error

# Models are built at their first use: here, so that forks of a process that imported this have them.
MATERIALS.rebuild()


class SoftwarePart(ABC):
    """A recipe that fills one folder: `read` takes its options, `make` fills a folder aside.

    Its location, ${buildout:parts-directory}/NAME, can be referred to from the start as ${NAME:location}.
    """

    guide: ClassVar[str]  # its page in the reference
    can_be_shared: ClassVar[bool] = False  # whether its options, with the digests in them, say all that it is made of
    runner: Runner = SystemRunner()

    def __init__(self, buildout: Mapping[str, Any], name: str, options: dict[str, str]) -> None:
        main = buildout["buildout"]
        self.name = name
        self.options = options
        self.base = Path(main["directory"])
        self.parts = Path(main["parts-directory"])
        self.location = self.parts / name
        self.cache = Path(main["download-cache"]) if main.get("download-cache") else None
        self.offline = main.get("offline") == "true"
        self.logger = logging.getLogger(name)
        self.materials: list[Material] = []
        wants_shared = bool(main.get("shared-part-list")) and options.get("shared") == "true"
        self.is_shared = wants_shared and self.can_be_shared and "path" not in options
        if self.is_shared:
            self.location = Path(main["shared-part-list"].split()[-1]) / name / part_digest(options, self.base)
        options["location"] = str(self.location)
        reader = OptionReader(name, options)
        if not _NAME.fullmatch(name):
            reader.problem("name", f"of the section is {name!r}: it becomes a folder, so use letters, digits and -_.+@")
        if wants_shared and not self.is_shared:
            reader.problem("shared", "is for slap:cmmi and slap:download, with sources whose digest is given")
        self.read(reader)
        reader.finish(self.guide)

    @abstractmethod
    def read(self, options: OptionReader) -> None:
        """Take what the part needs from its options, noting what is wrong with them."""

    @abstractmethod
    def make(self, part: Path) -> None:
        """Fill an empty folder, which will be renamed to the location; throw-away files go to `self.scratch`."""

    def install(self) -> list[str]:
        """What buildout shall remove when the part leaves the profile: a shared part stays for others."""
        if not self.is_shared:
            return self._install_own()
        with told_by(self.name), held(self.location):
            if not self.location.is_dir() and (words := ask_node(self.location)):
                self.logger.info("%s", words)
            if self.location.is_dir():
                files.make_folder(self.scratch.parent)
                self._record_shared()
            else:
                self._install_own()
        return []

    def _install_own(self) -> list[str]:
        with told_by(self.name):
            files.remove_tree(self.scratch)
            files.make_folder(self.scratch)
            files.make_folder(self.log.parent)
            files.write(self.log, "")
            made = self.scratch / "part"
            files.make_folder(made)
            self.make(made)
            self._record()
            if self.is_shared:
                files.write(made / MATERIALS_FILE, self._materials_record.read_bytes())
            self._put_in_place(made)
            files.remove_tree(self.scratch)
        return [str(self.location)]

    def update(self) -> list[str]:
        """Nothing to do for unchanged options, unless somebody removed the part."""
        if not self.location.is_dir():
            return self.install()
        return [] if self.is_shared else [str(self.location)]

    @property
    def scratch(self) -> Path:
        """Emptied at the start, removed at the end, left for a look after a failure."""
        return self.parts / ".aside" / self.name

    @property
    def log(self) -> Path:
        return self.parts / ".log" / f"{self.name}.log"

    @property
    def downloads(self) -> Path:
        """Where downloads are kept by their digest: for good when buildout has a download-cache."""
        return (self.cache or self.scratch) / "sha256"

    def run(
        self, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, what: str = ""
    ) -> None:
        """Run a program to success, its output in the part's log, whose tail is told on failure; `what` names the step."""
        command = Command(
            tuple(map(str, argv)), cwd or self.scratch, env if env is not None else self.environment(), log=self.log
        )
        ended = self.runner.run(command)
        if ended.status:
            raise self.failure(f"{what or Path(command.argv[0]).name} ended with status {ended.status}.")

    def environment(self) -> dict[str, str]:
        """The environment of a tool that needs the machine's configuration, which is found by way of HOME."""
        return environment.clean(Path(environment.variable("HOME", str(self.scratch))))

    def failure(self, brief: str) -> RecipeError:
        """An error that ends with the tail of the part's log."""
        return RecipeError(
            f"Part [{self.name}] failed: {brief}", files.tail(self.log, _TAIL), f"The whole log is in {self.log}."
        )

    def absolute(self, path: str) -> Path:
        """A path from an option: relative ones are below the buildout's folder."""
        return self.base / os.path.expanduser(path)

    def _record(self) -> None:
        """Leave word of what the part is made of, for those who take the built release; before the part, which is then
        there only with its record."""
        record = self._materials_record
        files.make_folder(record.parent)
        files.write(record, MATERIALS.dump_json(tuple(self.materials), exclude_defaults=True, indent=1))

    def _record_shared(self) -> None:
        """The same for a part that was there."""
        found = self.location / MATERIALS_FILE
        if found.is_file():
            files.make_folder(self._materials_record.parent)
            files.write(self._materials_record, found.read_bytes())

    @property
    def _materials_record(self) -> Path:
        return self.parts / MATERIALS_FOLDER / f"{self.name}.json"

    def _put_in_place(self, made: Path) -> None:
        """The last steps: everything is on the disk before it gets its name. A shared part that came meanwhile stays: it is
        whole, and others may use it already."""
        files.flush_disk(made)
        if self.is_shared and self.location.is_dir():
            return
        if os.path.lexists(self.location):
            self.location.rename(self.scratch / "former")
        made.rename(self.location)


@contextmanager
def told_by(part: str) -> Iterator[None]:
    """Whatever goes wrong in the block is told as an error of this part, which buildout prints without a traceback."""
    try:
        yield
    except RecipeError:
        raise
    except SlapError as error:
        raise RecipeError(f"Part [{part}] failed: {error.brief}", error.details, error.resolution) from error
    except OSError as error:
        next_step = "Make room on that disk." if error.errno == errno.ENOSPC else ""
        raise RecipeError(f"Part [{part}] failed: {error}", "", next_step) from error


def program_path(program: str, env: Mapping[str, str]) -> str:
    """Where a program is by the PATH of an environment; empty when it is nowhere."""
    return shutil.which(program, path=env["PATH"]) or ""
