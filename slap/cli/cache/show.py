"""`slapos cache list|info|verify`: what caches have, and whether it is what they say."""

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from slap.cache.client.chunk_store import ChunkStore
from slap.cache.client.client import CacheClient, install_place
from slap.cache.client.connection import CacheConnection
from slap.cache.client.lookup import FoundEntry, LookupResult
from slap.cache.trust.cache_key import CacheKey
from slap.cli.cache.bar import Bar
from slap.cli.cache.base import CacheLister, CacheShow, add_cache_url, ask_all, caches_of
from slap.cli.cache.rows import COLUMNS, entry_row, minute
from slap.cli.cache.summary import provenance_words, sbom_words
from slap.cli.output import Style, columns, harmless, say, short_release
from slap.model.cache import SignedEntry
from slap.model.errors import NotFound, SlapError
from slap.model.software import normalise_release_url
from slap.node.cache.messages import key_name, size
from slap.node.cache.tools import CacheTools

_TRUST = "slapos cache trust KEY takes what a key signs from now on: its owner has the line."
_MOST_ROWS = 10_000
_MOST_PAGES = 256  # of our servers; some are empty


class CacheList(CacheLister):
    """List what the caches have, whoever signed it; the column `taken` says whether this node would take it."""

    when_empty = "The caches have no builds."

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        add_cache_url(parser)
        parser.add_argument("url", nargs="?", metavar="URL", help="only this release")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        tools = self.tools(args)
        if args.url:
            self.when_empty = f"The caches have no build of {harmless(args.url)}."
        told = ask_all(tools, lambda mirror: self._entries(mirror, args.url))
        rows: dict[str, tuple[Any, ...]] = {}
        for signed in chain.from_iterable(told.values()):
            if row := entry_row(signed, tools):
                rows.setdefault(signed.payload, row)
        ordered = sorted(rows.values(), key=lambda row: (row[0].machine_readable(), row[4].machine_readable()))
        return COLUMNS, ordered

    def _entries(self, mirror: CacheConnection, url: str | None) -> list[SignedEntry]:
        if url:
            return list(mirror.entries(normalise_release_url(url, str(self.folder))))
        every: list[SignedEntry] = []
        page = ""
        for _ in range(_MOST_PAGES):
            found, page = mirror.all_entries(page)
            every += found
            if not page or len(every) >= _MOST_ROWS:
                break
        if page:
            say(f"{mirror.cache.name} has more than {len(every)} entries; the rest is not shown.")
        return every


class _AboutRelease(CacheShow):
    """A command about one release in the caches, as this node would be answered."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        add_cache_url(parser)
        parser.add_argument("url", metavar="URL", help="the release")
        return parser

    def ask(self, tools: CacheTools, url: str) -> tuple[CacheKey, LookupResult]:
        caches_of(tools)
        cache_key = tools.cache_key(normalise_release_url(url, str(self.folder)))
        found = tools.client.find_entries(cache_key)
        for trouble in found.troubles:
            say(str(trouble), Style.BAD)
        return cache_key, found

    def best(self, cache_key: CacheKey, found: LookupResult) -> FoundEntry:
        if found.found:
            return found.found[0]
        why = "\n".join(found.refused) or f"They have nothing for {cache_key.platform} in {cache_key.root}."
        raise NotFound(
            f"The caches have nothing of {cache_key.key} for this node.",
            why,
            _TRUST if found.has_untrusted_signer else "slapos cache list",
        )


class CacheInfo(_AboutRelease):
    """Show what this node would take for a release: who built it from what, and what is in it."""

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        tools = self.tools(args)
        cache_key, found = self.ask(tools, args.url)
        best = self.best(cache_key, found)
        entry = best.verified.entry
        data = entry.model_dump(mode="json") | {
            "signed_by": best.verified.key.line,
            "caches": [cache.name for cache in best.caches],
            "contents": _document(tools, best, "sbom"),
            "built_from": _document(tools, best, "provenance"),
        }
        self.text = _words(best, data)
        return self.fields(data)


class CacheVerify(_AboutRelease):
    """Fetch all of a release from each cache, and check every byte of it. Nothing is installed."""

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        tools = self.tools(args)
        cache_key, found = self.ask(tools, args.url)
        best = self.best(cache_key, found)
        verdicts = {
            cache.name: self._verdict(tools, cache_key, FoundEntry(best.verified, (cache,))) for cache in best.caches
        }
        bad = {name: words for name, words in verdicts.items() if words != "whole"}
        if bad:
            details = "\n".join(f"{name}: {words}" for name, words in bad.items())
            self.unfinished = SlapError("Not every cache has all of it.", details, "slapos cache push sends it again.")
        self.text = columns(list(verdicts.items()), indent=0)
        return self.fields({"release": cache_key.key, "caches": verdicts})

    def _verdict(self, tools: CacheTools, cache_key: CacheKey, found: FoundEntry) -> str:
        """Nothing that is here already helps: all of it has to come from the cache."""
        with (
            tempfile.TemporaryDirectory(prefix=".verify-", dir=tools.config.software_root) as folder,
            Bar(self.clock) as bar,
        ):
            client = CacheClient(tools.settings, tools.trust, ChunkStore(Path(folder, "chunks")))
            label = short_release(cache_key.key)
            try:
                client.fetch(
                    found, install_place(cache_key), Path(folder, "release"),
                    lambda done, total: bar(label, done, total),
                )  # fmt: skip
            except SlapError as error:
                return " ".join(f"{error.brief} {error.details}".split())
        return "whole"


def _document(tools: CacheTools, found: FoundEntry, name: str) -> Any:
    blob = getattr(found.verified.entry, name)
    if blob is None:
        return None
    try:
        return json.loads(tools.client.document(found, blob))
    except (SlapError, ValueError) as error:
        say(f"Its {name} cannot be read: {harmless(str(error))}", Style.BAD)
        return None


def _words(found: FoundEntry, data: dict[str, Any]) -> str:
    entry = found.verified.entry
    rows = [
        ("Release", entry.key),
        ("For", f"{entry.root}/{entry.folder}\n{entry.platform}"),
        ("Signed by", key_name(found.verified.key)),
        ("Built", f"{minute(entry.built_at)} by {entry.builder or 'nobody who says so'}"),
        ("Good until", minute(entry.expires_at)),
        ("Size", f"{size(entry.size)}, unpacked {size(entry.unpacked_size)}"),
        ("In", "\n".join(cache.name for cache in found.caches)),
        ("Contains", sbom_words(data["contents"])),
        ("Built from", provenance_words(data["built_from"])),
    ]
    return harmless(columns([row for row in rows if row[1]], indent=0))
