"""Buildouts that speak the dialect of SlapOS profiles, with recipes that only tell what they got."""

import logging
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zc.buildout.buildout

from slap.node.buildout import slapos_dialect


class Recipe:
    """Puts a value that is not a string into its options, and counts how it was made."""

    made: list[str] = []

    def __init__(self, buildout: Any, name: str, options: Any) -> None:
        self.name = name
        self.options = options
        options["list"] = [1, "two", {"three": b"3"}]

    def install(self) -> list[str]:
        self.made.append(f"install {self.name}")
        return []

    def update(self) -> list[str]:
        self.made.append(f"update {self.name}")
        return []


class Options(slapos_dialect.Options):
    """Sections whose recipe is `told` take it from here, as if a package had it."""

    def initialize(self) -> None:
        self.recipe = Recipe(self.buildout, self.name, self)


class Buildout(slapos_dialect.Buildout):
    Options = Options

    def _uninstall_part(self, part: str, installed: Any) -> None:
        """No package has the recipe, so none says how its parts are taken away."""

    def _compute_part_signatures(self, parts: Any) -> None:
        """Of a recipe that no package has, only what the sections add counts."""
        for part in parts:
            self[part]["__buildout_signature__"] = "told"
            if needs := sorted(self._all_needs(part)):
                self[part]["__buildout_signature__"] += f" {self._digest(needs)}"


@contextmanager
def speaking() -> Iterator[None]:
    """The dialect for as long as the block runs: other tests have zc.buildout as it is."""
    places = [
        (zc.buildout.buildout, ("Options", "Buildout", "_open", "_dir_hash", "_buildout_default_options")),
        (zc.buildout.download, ("Download",)),
        (zc.buildout.configparser, ("parse",)),
        (
            zc.buildout.easy_install,
            ("install", "normalize_versions", "buildout_and_setuptools_path", "get_subprocess_output"),
        ),
    ]
    before = [(module, name, getattr(module, name)) for module, names in places for name in names]
    root, folder = logging.getLogger(), Path.cwd()
    handlers, level = list(root.handlers), root.level
    slapos_dialect.speak()
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        root.handlers, root.level = handlers, level
        os.chdir(folder)


def read(folder: Path, profile: str, **files: str) -> Buildout:
    """The buildout of a profile, with other files beside it."""
    for name, text in files.items():
        (folder / f"{name}.cfg").write_text(textwrap.dedent(text))
    path = folder / "buildout.cfg"
    path.write_text(textwrap.dedent(profile))
    return Buildout(str(path), [("buildout", "offline", "true"), ("buildout", "log-level", "ERROR")], "")
