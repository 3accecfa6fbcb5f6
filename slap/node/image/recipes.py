"""The images that can be built here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from platform import machine

from slap.model.errors import InvalidInput, NotFound
from slap.node.image.build_env import BuildEnvironment
from slap.node.image.debian import build_debian
from slap.node.image.tiny_image import build_tiny

_MACHINE = "x86_64"


@dataclass(frozen=True)
class ImageRecipe:
    """A function that builds an image, and a summary for users."""

    build: Callable[[BuildEnvironment, Path], None]
    summary: str


RECIPES = {
    "tiny": ImageRecipe(build_tiny, "BusyBox with SSH and a web server for machines of 96 MiB, in seconds"),
    "debian-12": ImageRecipe(build_debian, "Debian 12 with cloud-init, in minutes"),
}


def recipe_of(name: str) -> ImageRecipe:
    """The recipe of a name. Raises NotFound for an unknown name, InvalidInput on another architecture."""
    if name not in RECIPES:
        raise NotFound(f"There is no recipe for an image {name}.", f"There are: {', '.join(RECIPES)}.", _OTHERS)
    if machine() != _MACHINE:
        raise InvalidInput(f"Images are built for {_MACHINE} only.", f"This computer is {machine()}.", _OTHERS)
    return RECIPES[name]


_OTHERS = "Add one that is made elsewhere: slapos image add FILE --name NAME"
