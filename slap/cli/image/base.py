"""What the commands about images share: the images of a node, and how one is shown."""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from slap.cli.base import Command, Lister, Show
from slap.cli.formats import Cell
from slap.cli.local import find_cfg
from slap.model.errors import InvalidInput
from slap.model.vm.kept import KeptImage
from slap.node.cache.messages import size
from slap.node.cache.tools import CacheTools
from slap.node.core.config import NodeConfig, read
from slap.node.image.fetch import Fetcher
from slap.node.image.service import in_use
from slap.node.image.store import ImageStore
from slap.system.process import SystemRunner

SHOWN = 16  # digits of a digest
_CFG = "the node's slapos.cfg (found in the usual places)"


@dataclass(frozen=True)
class Place:
    """A node's images."""

    config: NodeConfig
    store: ImageStore
    tools: CacheTools

    @property
    def fetcher(self) -> Fetcher:
        return Fetcher(self.store, self.tools, SystemRunner())


class _About(Command):
    def place(self, args: argparse.Namespace) -> Place:
        """Raises InvalidInput for people who may not write where the images are, before any work is done."""
        config = read(find_cfg(args.cfg or "", self.folder))
        config.make_folders()
        store = ImageStore(config.images)
        try:
            store.make()
        except PermissionError as error:
            raise InvalidInput(
                "You may not change the images of this computer.",
                str(error),
                "Type it as the node's user, mostly root.",
            ) from error
        return Place(config, store, CacheTools(config, self.clock))


class ImageLister(_About, Lister):
    cfg_help: ClassVar[str] = _CFG


class ImageShow(_About, Show):
    cfg_help: ClassVar[str] = _CFG


def names_of(place: Place, sha512: str) -> list[str]:
    return [name for name, digest in place.store.names().items() if digest == sha512]


def day(seconds: float) -> Cell:
    at = datetime.fromtimestamp(seconds, UTC)
    return Cell(at.isoformat(), f"{at:%Y-%m-%d %H:%M}")


def bytes_cell(count: int) -> Cell:
    return Cell(count, size(count))


def fields_of(place: Place, kept: KeptImage) -> dict[str, Any]:
    """All about an image."""
    return {
        "names": names_of(place, kept.sha512),
        "sha512": kept.sha512,
        "format": kept.format,
        "size": bytes_cell(kept.size),
        "virtual_size": bytes_cell(kept.virtual_size),
        "origin": kept.origin.value,
        "source": kept.source,
        "since": day(kept.at),
        "path": str(place.store.disk(kept.sha512)),
        "used_by": sorted(in_use(place.config, place.store).get(kept.sha512, ())),
    }
