"""The cache of a standalone cloud: where it listens, and what its node is told of it."""

import re
from collections.abc import Mapping
from pathlib import Path

from slap.model.errors import SlapError
from slap.system import files
from slap.system.transport import Transport

FIRST_PORT = 5300
_OURS = re.compile(r"http://127\.0\.0\.1:\d+/cache")


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def former_port(folder: Path) -> int | None:
    """Where the cache in a folder listened before."""
    words = files.read_or(folder / "port", "").strip()
    return int(words) if words.isdecimal() else None


def remember_port(folder: Path, port: int) -> None:
    files.make_folder(folder, 0o700)
    files.write_if_changed(folder / "port", f"{port}\n")


def answers(transport: Transport, url: str) -> bool:
    """Whether a cache is there, and not something else that took its port."""
    try:
        reply = transport.send("GET", f"{url}/api/v1/status", {}, None, 1.0)
    except SlapError:
        return False
    return reply.status == 200 and b'"quota"' in reply.body


def told(section: Mapping[str, str], url: str) -> dict[str, str]:
    """[networkcache] of the node, naming this cache; one in which somebody named another is left as it is."""
    named = section.get("download-binary-cache-url", "")
    if section and not _OURS.fullmatch(named):
        return dict(section)
    ways = ("download", "upload", "download-binary", "upload-binary")
    own = {f"{way}-{what}-url": f"{url}/{what}" for way in ways for what in ("cache", "dir")}
    return {**section, **own}
