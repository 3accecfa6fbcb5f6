"""`slapos image list|info|remove|push`: the images of this computer, and those of the caches."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from slap.cli.cache.bar import Bar
from slap.cli.formats import Cell
from slap.cli.image.base import SHOWN, ImageLister, ImageShow, Place, bytes_cell, day, fields_of, names_of
from slap.cli.output import Style, columns, harmless, say
from slap.model.errors import NotFound
from slap.model.vm.kept import KeptImage
from slap.node.cache.messages import key_name, left
from slap.node.image import cache, service


class ImageList(ImageLister):
    """List the images of this computer."""

    when_empty = "This computer has no images. `slapos image build tiny` makes one."

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        place = self.place(args)
        used = service.in_use(place.config, place.store)
        rows = [_row(place, each, used.get(each.sha512, set())) for each in place.store.records()]
        return ("name", "sha512", "format", "size", "disk", "origin", "since", "used_by"), sorted(rows, key=_by_name)


class ImageInfo(ImageShow):
    """Show all about an image: of this computer, or else what the caches have of the name."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("image", metavar="NAME", help="its name, or the beginning of its digest")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        place = self.place(args)
        try:
            kept = service.meant(place.store, args.image)
        except NotFound:
            return self.fields(self._of_caches(place, args.image))
        return self.fields(fields_of(place, kept))

    def _of_caches(self, place: Place, name: str) -> dict[str, Any]:
        found = cache.find_entries(name, place.tools)
        if not found.found:
            why = "\n".join([*found.refused, *map(str, found.troubles)])
            raise NotFound(f"Neither this computer nor a cache has image {name}.", harmless(why), "slapos image list")
        best = found.found[0].verified
        return {
            "names": [name], "size": bytes_cell(best.entry.size), "unpacked_size": bytes_cell(best.entry.unpacked_size),
            "origin": "cache", "signed_by": Cell(best.key.line, key_name(best.key)), "since": day(best.entry.built_at),
            "caches": [cache.name for cache in found.found[0].caches],
        }  # fmt: skip


class ImagePush(ImageShow):
    """Sign an image of this computer, and leave it in the cache, where nodes find it by its name."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("image", metavar="NAME", help="its name here")
        parser.add_argument("--as", dest="public", metavar="NAME", help="the name by which others find it")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        place = self.place(args)
        kept = place.store.named(args.image)
        if kept is None:
            raise NotFound(f"This computer has no image named {args.image}.", resolution="slapos image list")
        name = args.public or args.image
        sent: list[int] = []
        with Bar(self.clock) as bar, place.store.aside() as folder:

            def tell(count: int) -> None:
                sent.append(count)
                bar(name, sum(sent), kept.size)

            disk = folder / "disk"
            disk.hardlink_to(place.store.disk(kept.sha512))
            published = cache.publish_image(name, kept, disk, place.tools, tell)
        entry = published.entry
        say(left(published), Style.GOOD)
        self.text = columns([("Key", entry.key), ("For", entry.platform.machine), ("Builder", entry.builder)], indent=0)
        return self.fields(
            {"key": entry.key, "machine": entry.platform.machine, "size": entry.size, "sent": published.sent}
        )


class ImageRemove(ImageLister):
    """Remove images from this computer; one that machines use stays."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("images", nargs="+", metavar="NAME", help="names, or beginnings of digests")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        place = self.place(args)
        gone = [(name, service.remove(place.config, place.store, name)) for name in args.images]
        return ("name", "sha512", "size"), [
            (name, Cell(kept.sha512, kept.sha512[:SHOWN]), bytes_cell(kept.size)) for name, kept in gone
        ]


def _row(place: Place, kept: KeptImage, users: set[str]) -> tuple[Any, ...]:
    names = names_of(place, kept.sha512)
    return (
        Cell(names, ", ".join(names)), Cell(kept.sha512, kept.sha512[:SHOWN]), kept.format, bytes_cell(kept.size),
        bytes_cell(kept.virtual_size), kept.origin.value, day(kept.at), Cell(sorted(users), ", ".join(sorted(users))),
    )  # fmt: skip


def _by_name(row: tuple[Any, ...]) -> tuple[str, str]:
    return row[0].text, row[1].text
