"""What the commands about caches share: the node whose caches and keys they are about."""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar

from slap.cache.client.connection import CacheConnection
from slap.cache.client.settings import Cache, cache_at
from slap.cache.trust.store import TrustStore
from slap.cli.base import Command, Lister, Show
from slap.cli.local import find_cfg
from slap.cli.output import Style, say
from slap.model.errors import NotFound, SlapError, Unreachable
from slap.node.cache.tools import CacheTools
from slap.node.core.config import NodeConfig, read

_CFG = "the node's slapos.cfg, whose section [networkcache] names the caches (found in the usual places)"

Told = TypeVar("Told")


class _About(Command):
    """A command about the caches and keys of a node. What only looks makes no node: the configuration may be a wrong one."""

    makes_node: ClassVar[bool] = False

    def tools(self, args: argparse.Namespace) -> CacheTools:
        cfg = find_cfg(args.cfg or "", self.folder)
        config = read(cfg)
        if not self.makes_node and not config.root.is_dir():
            raise NotFound(
                f"There is no node in {config.root}, where {cfg} says.",
                "There is no such folder; slapos node format makes it.",
                "Name the node's own configuration: --cfg FILE.",
            )
        config.make_folders()
        return CacheTools(_at(config, getattr(args, "cache_url", None)), self.clock)

    def trust(self, args: argparse.Namespace) -> TrustStore:
        return self.tools(args).trust


class CacheCommand(_About):
    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--cfg", metavar="FILE", help=_CFG)
        return parser


class CacheLister(_About, Lister):
    cfg_help: ClassVar[str] = _CFG


class CacheShow(_About, Show):
    cfg_help: ClassVar[str] = _CFG


def add_cache_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache-url", metavar="URL", help="ask this cache instead of those of the node")


def caches_of(tools: CacheTools) -> Sequence[Cache]:
    """The caches that can be asked; raises NotFound when there is none."""
    if not tools.settings.caches:
        raise NotFound(
            "No cache is configured.",
            "slapos.cfg names none in the section [networkcache].",
            "Write cache-url = http://CACHE:5300 there, or give --cache-url.",
        )
    return tools.settings.caches


def ask_all(tools: CacheTools, ask: Callable[[CacheConnection], Told]) -> dict[Cache, Told]:
    """What the caches say, all of which are asked at once; one that fails is told. Raises Unreachable when all do."""
    caches = caches_of(tools)
    with ThreadPoolExecutor(len(caches)) as pool:
        asked = {cache: pool.submit(ask, tools.client.mirror(cache)) for cache in caches}
    told: dict[Cache, Told] = {}
    troubles = []
    for cache, answer in asked.items():
        try:
            told[cache] = answer.result()
        except SlapError as error:
            troubles.append(f"{cache.name}: {error.brief}")
    if not told:
        raise Unreachable("No cache answers.", "\n".join(troubles), "Check that they run, and their URLs.")
    for trouble in troubles:
        say(trouble, Style.BAD)
    return told


def _at(config: NodeConfig, url: str | None) -> NodeConfig:
    if not url:
        return config
    kept = {name: value for name, value in config.networkcache.items() if name not in _WHERE}
    return config.model_copy(update={"networkcache": kept | {"cache-url": cache_at(url).own}})


_WHERE = {"cache-url", "download-binary-cache-url", "download-binary-dir-url"}
