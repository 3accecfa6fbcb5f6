"""slap:cmmi: configure, make, make install."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from slap.model.cache.material import Material, MaterialKind
from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import SoftwarePart, program_path
from slap.recipes.common.source import apply_patch, read_source, single_folder
from slap.system import files
from slap.system.environment import clean
from slap.system.fetch import digest_of

HERE = "@@LOCATION@@"  # stands for the part's final place in options
SKIPPED = ("", "true")
# Which Debian package has a program that builds need.
DEBIAN_PACKAGES = {
    "cc": "gcc", "c++": "g++", "ld": "binutils", "pkg-config": "pkgconf", "autoreconf": "autoconf", "ninja": "ninja-build",
    "libtoolize": "libtool", "aclocal": "automake", "python3-config": "python3-dev",
}  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """A step of a build: a shell script, made of commands from options."""

    name: str
    commands: tuple[str, ...]

    @property
    def script(self) -> str:
        return "\n".join(["set -e", *self.commands, ""])


class Recipe(SoftwarePart):
    """Options: a source, prefix, configure-*, make-*, install-*, pre-*, post-install, patches, environment, programs."""

    guide = "cmmi"
    can_be_shared = True

    def read(self, options: OptionReader) -> None:
        self.source = read_source(options, self)
        self.subfolder = options.matching("subfolder", r"[^/].*", "a path within the source", "")
        self.prefix = options.matching("prefix", r"/.*", "an absolute path", str(self.location))
        self.patches = tuple(self.absolute(line) for line in options.lines("patches"))
        self.patch_options = tuple(options.text("patch-options", "-p1").split())
        self.programs = (*options.words("programs"), "cc", "make") if options.flag("compiler", True) else ()
        self.variables = {key: self._placed(value) for key, value in options.pairs("environment").items()}
        self.jobs = options.number("jobs", len(os.sched_getaffinity(0)))
        self.phases = tuple(self._phase(options, name) for name in ("configure", "make", "install"))
        self._remember_patches(options)

    def _remember_patches(self, options: OptionReader) -> None:
        """A patch that changed is a reason to build anew, so its digest becomes an option."""
        for path in self.patches:
            if not path.is_file():
                options.problem("patches", f"names {path}, which is not a file")
        self.options["patches-sha256"] = " ".join(digest_of(path) for path in self.patches if path.is_file())

    def _placed(self, text: str) -> str:
        """An option's text as the shell gets it: $${NAME} is how a profile writes ${NAME}."""
        return text.replace(HERE, self.prefix).replace("$${", "${")

    def _phase(self, options: OptionReader, name: str) -> Phase:
        extra = (*options.lines(f"{name}-options"), *options.words(f"{name}-targets"))
        command = options.text(f"{name}-command", self._default_command(options, name))
        main = () if command in SKIPPED else (" ".join([command, *extra]),)
        after = options.lines("post-install") if name == "install" else ()
        return Phase(name, tuple(map(self._placed, (*options.lines(f"pre-{name}"), *main, *after))))

    def _default_command(self, options: OptionReader, name: str) -> str:
        """An option that is there but empty means that there is nothing to do."""
        if self.options.get(f"{name}-command") is not None:
            return ""
        defaults = {
            "configure": f"./configure --prefix={shlex.quote(self.prefix)}",
            "make": 'make -j"$JOBS"',
            "install": 'make DESTDIR="$DESTDIR"' + ("" if options.words("install-targets") else " install"),
        }
        return defaults[name]

    def make(self, part: Path) -> None:
        env = self._build_environment()
        self._check_programs(env)
        source = self._unpacked()
        for patch in self.patches:
            apply_patch(self, source, patch, self.patch_options)
            digests = {"sha256": digest_of(patch)}
            self.materials.append(Material(kind=MaterialKind.PATCH, name=patch.name, digests=digests))
        for phase in self.phases:
            self._do(phase, source / self.subfolder, env)
        self._take_installed(part)

    def _unpacked(self) -> Path:
        folder = self.scratch / "source"
        files.make_folder(folder)
        self.source.unpack(self, folder)
        return single_folder(folder)

    def _do(self, phase: Phase, folder: Path, env: dict[str, str]) -> None:
        if phase.commands:
            self.logger.info("%s (log: %s)", phase.name.capitalize(), self.log)
            script = self.scratch / f"{phase.name}.sh"
            files.write(script, phase.script)
            self.run("/bin/sh", "-x", script, cwd=folder, env=env, what=phase.name)

    def _build_environment(self) -> dict[str, str]:
        """Where a build is and where it shall put things; nothing of the caller's."""
        places = {
            "PREFIX": self.prefix,
            "DESTDIR": str(self.scratch / "root"),
            "STAGE": f"{self.scratch / 'root'}{self.prefix}",
            "JOBS": str(self.jobs),
            "TMPDIR": str(self.scratch),
        }
        env = clean(self.scratch, places)
        own = {name: value.replace("$PATH", env["PATH"]) for name, value in self.variables.items()}
        return env | own

    def _check_programs(self, env: dict[str, str]) -> None:
        missing = [program for program in self.programs if not program_path(program, env)]
        if missing:
            packages = " ".join(DEBIAN_PACKAGES.get(program, program) for program in missing)
            raise RecipeError(
                f"Part [{self.name}] cannot be built: this machine lacks {', '.join(missing)}.",
                f"PATH of the build: {env['PATH']}",
                f"As root: apt-get install {packages}{' libc6-dev' if 'cc' in missing else ''}",
            )

    def _take_installed(self, part: Path) -> None:
        """What was installed below DESTDIR becomes the part."""
        stage = Path(self._build_environment()["STAGE"])
        if not stage.is_dir() or not any(stage.iterdir()):
            raise self.failure(
                f"nothing was installed below {stage}. A Makefile that knows no DESTDIR often takes "
                'install-options = PREFIX="$STAGE".'
            )
        part.rmdir()
        stage.rename(part)
        files.make_folder(part)
