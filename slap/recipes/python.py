"""slap:python: a locked set of wheels in a virtual environment of its own."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from slap.model.cache.material import Material, MaterialKind
from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import SoftwarePart
from slap.system import files
from slap.system.environment import open_python
from slap.system.process import Command

LOCK_FILE = "requirements.lock"

_PIN = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,\s-]+\])?\s*==\s*[\w.!+-]+(\s*;.+?)?(\s+--hash=sha256:[0-9a-f]{64})*")


@dataclass(frozen=True)
class Lock:
    """Requirements, each of one version; `hashed` when they say which files will do."""

    lines: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def hashed(self) -> bool:
        return any("--hash=" in line for line in self.lines)


class Recipe(SoftwarePart):
    """Options: requirements or requirements-file, executable, from-source."""

    guide = "python"

    def read(self, options: OptionReader) -> None:
        self.lock = read_lock(self._requirements(options))
        for problem in self.lock.problems:
            options.problem("requirements", problem)
        self.from_source = options.words("from-source")
        executable = options.text("executable", "")
        self.executable = self.absolute(executable) if executable else open_python()
        if not self.executable.is_file():
            options.problem("executable", f"names {self.executable}, which is not a file")
        # What a profile refers to, and what makes another Python or another lock a reason to build anew.
        self.options["executable"] = str(self.executable)
        self.options["python"] = str(self.location / "bin" / "python")
        self.options["locked"] = "\n".join(self.lock.lines)

    def _requirements(self, options: OptionReader) -> str:
        text, path = options.text("requirements", ""), options.text("requirements-file", "")
        if bool(text) == bool(path):
            options.problem("requirements", "or requirements-file: give exactly one of them")
        if not path:
            return text
        found = self.absolute(path)
        if not found.is_file():
            options.problem("requirements-file", f"names {found}, which is not a file")
        return files.read_or(found, "")

    def make(self, part: Path) -> None:
        self.logger.info("Python: %s packages for %s", len(self.lock.lines), self.executable)
        # pip is not needed in there, and Debian leaves out what would put it there (ensurepip).
        self.run(self.executable, "-m", "venv", "--without-pip", part)
        files.write(part / LOCK_FILE, "".join(f"{line}\n" for line in self.lock.lines))
        self._install(part)
        self._check_whole(part)
        move_texts(part, part, self.location)
        self.run(part / "bin" / "python", "-m", "compileall", "-q", "-s", part, "-p", self.location, part / "lib")

    def _install(self, part: Path) -> None:
        how = ("--no-deps", "--no-compile", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
        wheels = ("--only-binary", ":all:", *(word for name in self.from_source for word in ("--no-binary", name)))
        strict = ("--require-hashes",) if self.lock.hashed else ()
        offline = ("--no-index",) if self.offline else ()
        report = self.scratch / "pip.json"
        told = ("--report", str(report))
        self._pip(part, "install", *how, *wheels, *strict, *offline, *told, "--requirement", str(part / LOCK_FILE))
        self.materials.extend(read_report(files.read_or(report, "{}")))

    def _check_whole(self, part: Path) -> None:
        """Nothing was installed but what is locked, so what is still needed was not locked."""
        ended = self.runner.run(Command(self._pip_words(part, "check"), self.scratch, self.environment()))
        if ended.status:
            raise RecipeError(
                f"Part [{self.name}]: the lock of Python packages is not complete.",
                ended.stdout.strip() or ended.stderr.strip(),
                "Add a line name==version to requirements for each package that is named here.",
            )

    def _pip(self, part: Path, *words: str) -> None:
        self.run(*self._pip_words(part, *words))

    def _pip_words(self, part: Path, *words: str) -> tuple[str, ...]:
        """The pip of the Python that runs us, working on the environment in the part."""
        return (sys.executable, "-m", "pip", "--python", str(part / "bin" / "python"), *words)


def read_lock(text: str) -> Lock:
    """The requirements of a text, with continued lines joined and comments dropped, and what is not pinned."""
    joined = re.sub(r"\\\s*\n", " ", text)
    plain = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    lines = tuple(" ".join(line.split()) for line in plain if line)
    problems = tuple(f"has {line!r}: write name==version" for line in lines if not _PIN.fullmatch(line))
    return Lock(lines, problems)


def read_report(text: str) -> list[Material]:
    """The files that pip installed from, by their digests. Where they were got is this machine's business."""
    return [
        Material(
            kind=MaterialKind.WHEEL,
            name=each["metadata"]["name"],
            version=each["metadata"]["version"],
            digests=each["download_info"].get("archive_info", {}).get("hashes", {}),
        )
        for each in json.loads(text).get("install", [])
    ]


def move_texts(part: Path, before: Path, after: Path) -> None:
    """Have the texts that name the environment's place (starters, settings) name the place where it will be."""
    for path in [part / "pyvenv.cfg", *(part / "bin").iterdir()]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            files.write(path, content.replace(bytes(before), bytes(after)), path.stat().st_mode & 0o777)
