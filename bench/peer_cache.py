"""The other side of bench/cache, as a program for the peer's Python: what slapos.core does with a release, by its libraries.

Publishing is `tarfile` with gzip into a file beside, as the node does, and then the client of slapos.libnetworkcache.
Fetching is that client (which checks the digest) into a file beside, and `tarfile` again.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from slapos.libnetworkcache import NetworkcacheClient

KEY = "slapos-buildout-bench"


def client(state: str, port: str) -> NetworkcacheClient:
    """With a key that signs, and whose signatures count."""
    folder, url = Path(state), f"http://127.0.0.1:{port}"
    folder.mkdir(exist_ok=True)
    if not (folder / "key.pem").exists():
        names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"), "-subj", "/CN=bench"]
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", *names]
        subprocess.run(made, check=True, stderr=subprocess.DEVNULL)
    return NetworkcacheClient(
        f"{url}/cache",
        f"{url}/dir",
        str(folder / "key.pem"),
        [(folder / "certificate.pem").read_text()],
    )


def publish(state: str, port: str, folder: str) -> None:
    made = Path(state).with_suffix(".tar.gz")
    with tarfile.open(made, "w:gz") as tar:
        tar.add(folder, arcname="release")
    with made.open("rb") as file:
        client(state, port).upload(file, KEY, multiarch="x86_64-linux-gnu", os=["debian", "12", ""])


def fetch(state: str, port: str, digest: str, into: str) -> None:
    beside = Path(f"{into}.tar.gz")
    with beside.open("wb") as file:
        shutil.copyfileobj(client(state, port).download(digest), file)
    with tarfile.open(beside) as tar:
        tar.extractall(path=into)


def lookups(state: str, port: str, seconds: str) -> None:
    """Ask again and again what the cache has; prints how many answers a second were verified."""
    asking, count, began = client(state, port), 0, time.monotonic()
    while time.monotonic() - began < float(seconds):
        if not list(asking.select(KEY, {"multiarch": "x86_64-linux-gnu"})):
            raise SystemExit("nothing was found")
        count += 1
    print(json.dumps({"rate": count / (time.monotonic() - began)}))


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"publish": publish, "fetch": fetch, "lookups": lookups}
    commands[sys.argv[1]](*sys.argv[2:])
