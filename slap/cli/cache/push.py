"""`slapos cache push`: leave what was built here in the cache, now."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from slap.cli.cache.bar import Bar
from slap.cli.cache.base import CacheLister
from slap.cli.formats import Cell
from slap.cli.output import Style, duration, say, short_release
from slap.model.cache import EntryKind
from slap.model.errors import InvalidInput, NotFound
from slap.model.software import normalise_release_url
from slap.node.cache.messages import left
from slap.node.cache.tools import CacheTools
from slap.node.cache.upload_queue import Upload
from slap.node.core.accounts import Account
from slap.node.core.marker import MARKER, read_fingerprint
from slap.node.software.cached_releases import NodeCache, make_node_cache


class CachePush(CacheLister):
    """Sign a release that was built on this node, and leave it in the upload cache.

    Without a URL, list what waits for that.
    """

    when_empty = "Nothing waits to be uploaded."

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("url", nargs="?", metavar="URL", help="the release")
        parser.add_argument("--queued", action="store_true", help="upload what waits and is due, as the agent would")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        tools = self.tools(args)
        cache = make_node_cache(tools, Account(), read_fingerprint, MARKER)
        if args.queued:
            self._work_off(cache)
        elif args.url:
            self._push(cache, tools, normalise_release_url(args.url, str(self.folder)))
        now = tools.now
        rows = [_row(each, now) for each in tools.store.uploads() if not args.url or each.key == args.url]
        return ("key", "kind", "due", "failures", "message"), rows

    def _push(self, cache: NodeCache, tools: CacheTools, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(
                f"{url} is a folder of this machine, where it may change.",
                "Others know a release by its URL alone, which has to mean the same everywhere.",
                "Supply it by an http or https URL.",
            )
        folder = tools.config.software(url)
        if read_fingerprint(folder) is None:
            raise NotFound(f"{url} is not built here.", f"{folder} is not whole.", "slapos node software")
        built = int((folder / MARKER).lstat().st_mtime)
        with Bar(self.clock) as bar:
            started = self.clock.monotonic()
            counter = _Counter(bar, short_release(url))
            upload = Upload(EntryKind.RELEASE, url, str(folder), built, built)
            published = cache.uploads.upload(upload, counter)
        say(left(published, duration(self.clock.monotonic() - started)), Style.GOOD)

    def _work_off(self, cache: NodeCache) -> None:
        """Each that is due is tried once: a failure makes it due later."""
        with Bar(self.clock) as bar:
            counter = _Counter(bar, "")
            while cache.uploads.once(counter) == 0.0:
                continue


class _Counter:
    """Adds up what was sent of each upload."""

    def __init__(self, bar: Bar, label: str) -> None:
        self._bar = bar
        self._label = label
        self._sent: dict[str, int] = {}

    def __call__(self, upload: Upload, count: int) -> None:
        self._sent[upload.key] = self._sent.get(upload.key, 0) + count
        self._bar(self._label or short_release(upload.key), self._sent[upload.key], 0)


def _row(upload: Upload, now: float) -> tuple[Any, ...]:
    wait = upload.due - now
    due = Cell(upload.due, "now" if wait <= 0 else f"in {duration(wait)}")
    return upload.key, upload.kind.value, due, upload.failures, upload.why
