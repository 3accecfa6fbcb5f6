"""A real S3 server: s3rver of npm, a process of its own that keeps objects on disk.

It is small, starts in a second, and npm has it; Debian 12 has no such server, and that of PyPI (moto) wants older
versions of libraries that this project uses. It cannot end an upload in parts that was given up, which shows that
nothing relies on that. It breaks down when an object is written and removed at the same moment: that is tested with
the folder alone.
"""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from slap.system import files
from tests.system.cloud import PROJECT, eventually
from tests.system.slapos_peer import free_port

PACKAGE = "s3rver@3.7.1"
BUCKET = "builds"


@contextmanager
def running_s3(folder: Path) -> Iterator[str]:
    """The endpoint of a server, until the block ends; its one bucket is in `folder`."""
    port = free_port()
    words = ("-a", "127.0.0.1", "-p", str(port), "-d", str(folder), "--configure-bucket", BUCKET)
    with (folder / "s3rver.log").open("wb") as log:
        server = subprocess.Popen([installed(), *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(endpoint), 60, pause=0.1)
        yield endpoint
    finally:
        server.terminate()
        server.wait(20)


@cache
def installed() -> Path:
    """The program, installed once for all tests to come."""
    folder = PROJECT / "var/s3-server" / PACKAGE.replace("@", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with files.exclusive(folder.with_suffix(".lock"), wait=True):
        if not (folder / "complete").exists():
            npm = (
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--loglevel=error",
                "--prefix",
                str(folder),
            )
            subprocess.run([*npm, PACKAGE], check=True, timeout=600)
            files.write(folder / "complete", PACKAGE)
    return folder / "node_modules/.bin/s3rver"


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
