"""Parts that several releases use: known by a digest of all that they are made by, built once, or taken from a cache."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from slap.system import environment, files
from slap.system.fetch import digest_of

# Names the socket at which the node takes parts from caches; builds have no keys, and trust nobody.
ASK = "SLAP_ASK_FOR_PART"
# What a shared part is made of, kept in it for the releases that only use it.
MATERIALS_FILE = ".materials.json"
_DIGITS = 40
_PATIENCE = 900.0  # seconds: the node itself gives up on caches much earlier


def part_digest(options: Mapping[str, str], base: Path) -> str:
    """The same for the same recipe with the same options, wherever they were written.

    What options refer to is in them by then; the locations of other shared parts have the digests of those.
    """
    digest = sha256(f"slap {version('slap')}\n".encode())
    for name in sorted(options):
        if name != "location" and not name.startswith("_"):
            digest.update(f"{name}={options[name]!r}\n".encode())
    for patch in options.get("patches", "").split():
        path = base / patch
        digest.update(f"{digest_of(path) if path.is_file() else 'missing'}\n".encode())
    return digest.hexdigest()[:_DIGITS]


@contextmanager
def held(location: Path) -> Iterator[None]:
    """Of several builds that want a part, the first makes it, and the others wait."""
    files.make_folder(location.parent)
    with files.exclusive(location.parent / f".{location.name}.lock"):
        yield


def ask_node(location: Path) -> str:
    """Have the node look for a part in its caches; what it says. The part is there then, or it is not."""
    address = environment.variable(ASK)
    if not address:
        return ""
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(_PATIENCE)
            channel.connect(address)
            channel.sendall(f"{location.parent.name} {location.name}\n".encode())
            return channel.makefile(errors="replace").readline(2000).strip()
    except OSError as error:
        return f"the node cannot be asked for parts: {error}"
