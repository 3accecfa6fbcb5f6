"""`slapos cache serve` and `slapos cache token`: a cache for other nodes, and who may write to it."""

import argparse

from slap.cache.server.serve import serve
from slap.cache.server.settings import CacheSettings
from slap.cache.server.tokens import TokenFile
from slap.cache.storage.url import no_cache_in
from slap.cli.base import Command
from slap.cli.cache.settings import settings_of, with_storage
from slap.cli.computer import hand_over, with_token_file
from slap.cli.output import Style, say


class CacheServe(Command):
    """Serve a cache of builds to other nodes.

    Settings come from the section [cache] of a configuration file and from the options, which win. On this machine the user
    that runs it may write without credentials; others need a token (slapos cache token) or a certificate.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_storage(super().get_parser(name))
        parser.add_argument("--host", help="where to listen (127.0.0.1)")
        parser.add_argument("--port", type=int, help="where to listen (5300)")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        settings = settings_of(args, self.folder, self.home)
        place = settings.storage_url.partition("?")[0]
        say(f"The cache listens on {settings.url} and keeps its data in {place}. Ctrl-C ends it.")
        serve(settings)


class CacheToken(Command):
    """Make a token with which builds are uploaded to a cache. Run it where the cache is served; it need not be restarted."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_token_file(with_storage(super().get_parser(name)))
        parser.add_argument("name", metavar="NAME", help="whose it is")
        parser.add_argument("--revoke", action="store_true", help="end all tokens of that name, and make none")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        settings = settings_of(args, self.folder, self.home)
        if args.revoke:
            _tokens(settings).remove(args.name)
            say(f"The tokens of {args.name} do not work any more.", Style.GOOD)
            return
        hand_over(_tokens(settings).add(args.name), args.token_file and self.folder / args.token_file)


def _tokens(settings: CacheSettings) -> TokenFile:
    if not settings.folder.is_dir():
        raise no_cache_in(settings.folder)
    return TokenFile(settings.token_file)
