"""The other side of bench/cache, as a program for the peer's Python: what slapos.core does with a release, by its libraries.

Publishing is `tarfile` with gzip into a file beside, as the node does before it uploads. Fetching is the client of
slapos.libnetworkcache (which checks the digest) into a file beside, and `tarfile` again.
"""

import hashlib
import shutil
import sys
import tarfile
from pathlib import Path

from slapos.libnetworkcache import NetworkcacheClient


def publish(folder: str, blobs: str, name: str) -> None:
    made = Path(blobs) / "made.tar.gz"
    with tarfile.open(made, "w:gz") as tar:
        tar.add(folder, arcname="release")
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    made.rename(Path(blobs) / digest)
    (Path(blobs) / f"{name}.sha512").write_text(digest)


def fetch(port: str, digest: str, into: str) -> None:
    url = f"http://127.0.0.1:{port}"
    beside = Path(f"{into}.tar.gz")
    with beside.open("wb") as file:
        shutil.copyfileobj(NetworkcacheClient(f"{url}/cache", f"{url}/dir").download(digest), file)
    with tarfile.open(beside) as tar:
        tar.extractall(path=into)


if __name__ == "__main__":
    {"publish": publish, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
