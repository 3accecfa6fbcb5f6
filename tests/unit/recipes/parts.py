"""Parts of software releases to try, with options as buildout gives them but without buildout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from slap.recipes.common.base import RecipeError
from slap.recipes.common.part import SoftwarePart
from slap.system.process import Command, Completed

Part = TypeVar("Part", bound=SoftwarePart)


def part_of(recipe: type[Part], folder: Path, **options: str) -> Part:
    """A part called `it`; underscores in names of options stand for dashes."""
    main = {"directory": str(folder), "parts-directory": str(folder / "parts"), "download-cache": str(folder / "cache")}
    return recipe({"buildout": main}, "it", {name.replace("_", "-"): value for name, value in options.items()})


def refusal(recipe: type[Part], folder: Path, **options: str) -> str:
    """What is said about options that are wrong."""
    with pytest.raises(RecipeError) as caught:
        part_of(recipe, folder, **options)
    return str(caught.value)


def failure(part: SoftwarePart) -> str:
    """What is said when a part cannot be made."""
    with pytest.raises(RecipeError) as caught:
        part.install()
    assert not part.location.exists()
    return str(caught.value)


@dataclass
class ScriptedRunner:
    """Answers commands by a function, which may also do what the program would do."""

    answer: Callable[[Sequence[str]], str | int]
    commands: list[Command] = field(default_factory=list)

    def run(self, command: Command) -> Completed:
        self.commands.append(command)
        answer = self.answer(command.argv)
        return Completed(command, answer) if isinstance(answer, int) else Completed(command, 0, answer)
