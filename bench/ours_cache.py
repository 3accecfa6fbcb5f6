"""Our side of bench/cache, as a program: what a node does with a cache, by the same client, against `slapos cache serve`.

What it remembers (the key, whom it trusts, the chunks that it has) is in the folder STATE.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from slap.cache.archive.pack import pack
from slap.cache.client.chunk_store import ChunkStore
from slap.cache.client.client import CacheClient, install_place
from slap.cache.client.lookup import LookupResult
from slap.cache.client.publish import BuildOutput
from slap.cache.client.publish import publish as leave
from slap.cache.client.settings import Settings, cache_at
from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.keys import generate_key, load_key
from slap.cache.trust.platform import this_platform
from slap.cache.trust.store import TrustedKey, TrustStore
from slap.model.cache.manifest import ChunkRef


class Node:
    """A node that trusts its own key."""

    def __init__(self, state: str, port: str) -> None:
        self._folder = Path(state)
        self._folder.mkdir(exist_ok=True)
        if not (self._folder / "key").exists():
            generate_key(self._folder / "key", "bench")
        self.key = load_key(self._folder / "key")
        trust = TrustStore(self._folder / "trust.sqlite")
        trust.trust(TrustedKey(self.key.public))
        cache = cache_at(f"http://127.0.0.1:{port}")
        self.chunk_store = ChunkStore(self._folder / "chunks")
        self.client = CacheClient(Settings(caches=(cache,), upload=cache), trust, self.chunk_store)

    def find_entries(self, name: str) -> LookupResult:
        found = self.client.find_entries(_question(name))
        if not found.found:
            raise SystemExit(f"{name} is not found: {found}")
        return found


def publish(state: str, port: str, name: str, folder: str) -> None:
    """Pack, upload, sign."""
    node, now = Node(state, port), int(time.time())
    leave(
        BuildOutput(Path(folder), _question(name), "bench", now, now),
        node.key,
        node.client,
        node.chunk_store,
        lambda size: None,
    )


def fetch(state: str, port: str, name: str, into: str) -> None:
    """Look up, verify, fetch, unpack; prints how many bytes came over the network, and how many were here."""
    node, cache_key = Node(state, port), _question(name)
    found = node.find_entries(name).found[0]
    fetched = node.client.fetch(found, install_place(cache_key), Path(into), lambda done, total: None)
    print(json.dumps({"fetched": fetched.fetched, "reused": fetched.reused, "size": found.verified.entry.size}))


def lookups(state: str, port: str, name: str, seconds: str) -> None:
    """Ask again and again what the cache has; prints how many answers a second were verified."""
    node, count, began = Node(state, port), 0, time.monotonic()
    while time.monotonic() - began < float(seconds):
        node.find_entries(name)
        count += 1
    print(json.dumps({"rate": count / (time.monotonic() - began)}))


def whole(folder: str, target: str) -> None:
    """The same archive in one file, for those that fetch it with curl."""
    with Path(target).open("wb") as file:

        def put(ref: ChunkRef, packed: bytes) -> None:
            file.write(packed)

        pack(Path(folder), install_place(_question("old")), put)


def _question(name: str) -> CacheKey:
    return CacheKey(f"http://bench.example/{name}/software.cfg", "/opt/slapgrid", this_platform(), time.time())


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {
        "publish": publish, "fetch": fetch, "lookups": lookups, "whole": whole,
    }  # fmt: skip
    commands[sys.argv[1]](*sys.argv[2:])
