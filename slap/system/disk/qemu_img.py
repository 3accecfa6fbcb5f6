"""qemu-img: what an image is, whether it is whole, and making one of another."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slap.model.base import Frozen
from slap.model.errors import CommandFailed, InvalidInput
from slap.system import environment
from slap.system.process import Command, Completed, Runner

_PATIENCE = 1800.0
_LIMITED = ("prlimit", f"--as={4 << 30}", "--cpu=300", "--")


class ImageInfo(Frozen):
    """What an image says of itself."""

    format: str
    virtual_size: int  # bytes of the disk that a machine sees
    backing_file: str = ""
    data_file: str = ""


class BrokenImage(InvalidInput):
    """Not an image of a disk, or a damaged one."""

    kind = "broken-image"


class QemuImg:
    """Its calls, for files that may come from anywhere: their format is never guessed from what is in them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def convert(self, raw: Path, qcow2: Path, compressed: bool = True) -> None:
        words = ("-c",) if compressed else ()
        self._run("convert", "-f", "raw", "-O", "qcow2", *words, str(raw), str(qcow2)).check()

    def info(self, path: Path, kind: str) -> ImageInfo:
        """Raises BrokenImage for what is no image of that format. It may be in use by a machine."""
        done = self._run_limited("info", "--force-share", "--output", "json", "-f", kind, "--", str(path))
        if done.status != 0:
            raise _broken(path, done)
        try:
            return _info(json.loads(done.stdout))
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise CommandFailed("qemu-img answered nonsense.", str(error)) from error

    def check(self, path: Path) -> None:
        """Raises BrokenImage for a qcow2 whose tables are damaged."""
        done = self._run_limited("check", "-q", "-f", "qcow2", "--", str(path))
        # 3: nothing is lost, but room in the file is
        if done.status not in (0, 3):
            raise _broken(path, done)

    def _run_limited(self, *words: str) -> Completed:
        """A file that is made to be looked at for ever, or with all memory, is a broken one."""
        return self._run(*words, prefix=_LIMITED)

    def _run(self, *words: str, prefix: tuple[str, ...] = ()) -> Completed:
        argv = (*prefix, environment.program("qemu-img", "qemu-utils"), *words)
        env = {"PATH": environment.CLEAN_PATH}
        return self._runner.run(Command(argv, env=env, timeout=_PATIENCE, longest=1 << 20))


def _info(said: dict[str, Any]) -> ImageInfo:
    special = said.get("format-specific") or {}
    return ImageInfo(
        format=said["format"],
        virtual_size=said["virtual-size"],
        backing_file=said.get("backing-filename") or "",
        data_file=(special.get("data") or {}).get("data-file") or "",
    )


def _broken(path: Path, done: Completed) -> BrokenImage:
    said = (done.stderr or done.stdout).strip().splitlines()
    return BrokenImage(f"{path.name} is not a whole disk image.", said[-1] if said else "", "Fetch or make it again.")
