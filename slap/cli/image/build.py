"""`slapos image build|add`: images that are made here, or come from a file or a URL."""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slap.cli.cache.bar import Bar
from slap.cli.image.base import ImageShow, Place, fields_of
from slap.cli.output import Style, duration, say
from slap.model.errors import InvalidInput
from slap.model.vm.image import FetchingImage, ImageEntry, ImageState
from slap.model.vm.kept import KeptImage, Origin
from slap.node.cache.messages import size
from slap.node.image.build_env import BuildEnvironment
from slap.node.image.fetch import check_room
from slap.node.image.recipes import RECIPES, recipe_of
from slap.system.fetch import digest_of, keep
from slap.system.process import SystemRunner

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{128}")
_ROOM = 4 << 30  # bytes that building takes at most


class ImageBuild(ImageShow):
    """Build an image from Debian's packages; orders that name it get this one from then on."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        known = "; ".join(f"{each}: {recipe.summary}" for each, recipe in RECIPES.items())
        parser.add_argument("recipe", metavar="NAME", help=known)
        parser.add_argument("--name", help="the name that it gets here (default: that of the recipe)")
        parser.add_argument("--output", type=Path, metavar="FILE", help="leave it in a file, and not among the images")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        recipe, name = recipe_of(args.recipe), _checked(args.name or args.recipe)
        place = self.place(args)
        check_room(place.store, _ROOM)
        started = self.clock.monotonic()
        with place.store.aside() as folder:
            bench = BuildEnvironment(
                SystemRunner(), folder, place.store.root / "packages", lambda words: say(f"{words} ...")
            )
            made = folder / "image.qcow2"
            recipe.build(bench, made)
            if args.output:
                keep(made, self.folder / args.output)
                return self._say_where(self.folder / args.output, started)
            kept = place.fetcher.take(made, Origin.BUILT, args.recipe)
        place.store.name(name, kept.sha512)
        say(f"Built {name} ({size(kept.size)}) in {duration(self.clock.monotonic() - started)}.", Style.GOOD)
        return self.fields(fields_of(place, kept))

    def _say_where(self, path: Path, started: float) -> tuple[Sequence[str], Iterable[Any]]:
        count = path.stat().st_size
        say(f"Built {path} ({size(count)}) in {duration(self.clock.monotonic() - started)}.", Style.GOOD)
        return self.fields({"path": str(path), "size": count})


class ImageAdd(ImageShow):
    """Add an image that was made elsewhere, a file or what a URL leads to, under a name that orders can use."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("source", metavar="FILE|URL", help="a qcow2 or raw disk, or an ISO to start from")
        parser.add_argument("--name", required=True, help="its name in orders: lower case, digits, and . _ -")
        parser.add_argument("--sha512", help="what its digest has to be; needed for a URL")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        name = _checked(args.name)
        place = self.place(args)
        if args.source.startswith(("http://", "https://")):
            kept = self._fetched(place, args)
            place.store.name(name, kept.sha512)
        else:
            kept = self._copied(place, args, name)
        say(f"Added {name} ({size(kept.size)}).", Style.GOOD)
        return self.fields(fields_of(place, kept))

    def _copied(self, place: Place, args: argparse.Namespace, name: str) -> KeptImage:
        file = self.folder / args.source
        if args.sha512 and digest_of(file, "sha512") != args.sha512:
            raise InvalidInput(f"{file} is not what was expected.", "Its SHA-512 is another one.", f"sha512sum {file}")
        return place.fetcher.add(file, name, Origin.ADDED)

    def _fetched(self, place: Place, args: argparse.Namespace) -> KeptImage:
        if not _DIGEST.fullmatch(args.sha512 or ""):
            raise InvalidInput(
                "Nothing is fetched without its digest.", "", "Give --sha512, which its publisher tells beside it."
            )
        with Bar(self.clock) as bar:

            def tell(state: ImageState) -> None:
                if isinstance(state, FetchingImage):
                    bar(args.name, state.done, state.size)

            kept = place.fetcher.fetch(ImageEntry(url=args.source, sha512=args.sha512), tell)
        return place.store.adopt(kept.sha512, Origin.ADDED)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name of an image.", "It has lower case letters, digits, and any of . _ -")
    return name
