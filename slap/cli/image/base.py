"""What the commands about images share: the node whose images they are about."""

import argparse
from dataclasses import dataclass
from typing import ClassVar

from slap.cli.base import Command, Lister, Show
from slap.cli.local import find_cfg
from slap.model.errors import InvalidInput
from slap.node.cache.tools import CacheTools
from slap.node.core.config import NodeConfig, read
from slap.node.image.fetch import Fetcher
from slap.node.image.store import ImageStore
from slap.system.process import SystemRunner

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
