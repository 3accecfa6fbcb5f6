"""One side of bench/cache, as a program: packs a folder into blobs, or makes it again from blobs behind a URL."""

import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from slap.cache.archive.member import Place
from slap.cache.archive.pack import pack
from slap.cache.archive.unpack import unpack
from slap.model.cache.manifest import ChunkRef, Manifest

PLACE = Place("/opt/slapgrid/bench", "/opt/slapgrid")


class Fetcher:
    """Takes chunks from a folder of those that are there already, and the others by HTTP, one connection a thread."""

    def __init__(self, port: int, kept: Path) -> None:
        self._port, self._kept, self._own = port, kept, threading.local()

    def get_chunk(self, ref: ChunkRef) -> Iterator[bytes]:
        path = self._kept / ref.sha512
        yield path.read_bytes() if path.exists() else self.get(ref.sha512)

    def get(self, name: str) -> bytes:
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        self._own.connection.request("GET", f"/cache/{name}")
        answer = self._own.connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{name}: {answer.status} {answer.reason}")
        return answer.read()


def publish(folder: str, blobs: str, name: str) -> None:
    """Also into one file, for those that fetch it with curl."""
    with (Path(blobs) / f"{name}.tar.zst").open("wb") as whole:

        def put(ref: ChunkRef, packed: bytes) -> None:
            (Path(blobs) / ref.sha512).write_bytes(packed)
            whole.write(packed)

        manifest = pack(Path(folder), PLACE, put)
    (Path(blobs) / f"{name}.manifest").write_bytes(manifest.encoded())


def fetch(port: str, name: str, into: str, kept: str) -> None:
    fetcher = Fetcher(int(port), Path(kept))
    manifest = Manifest.model_validate_json(fetcher.get(f"{name}.manifest"))
    unpack(manifest, fetcher.get_chunk, Path(into), PLACE)


if __name__ == "__main__":
    {"publish": publish, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
