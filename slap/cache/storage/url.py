"""Storage by its URL: a path or file:///PATH is a folder, s3://BUCKET/PREFIX an object store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from slap.cache.storage.folder import Folder
from slap.cache.storage.s3 import open_s3
from slap.cache.storage.storage import Storage
from slap.model.errors import InvalidInput, NotFound
from slap.system.trust.cloud_keys import find_cloud_keys

# What a folder has in which objects are, or were.
_MARKS = ("aside", "blob", "entry", "dir")


def open_storage(url: str, folder: Path) -> Storage:
    """The storage that a URL names; relative paths start at `folder`. A folder is made when it is missing."""
    place = _place(url, folder)
    return Folder(place) if place else open_s3(url, find_cloud_keys(Path.home()))


def open_existing(url: str, folder: Path) -> Storage:
    """The same for who only looks after what is there: makes no folder, but raises NotFound."""
    place = _place(url, folder)
    if place and not any((place / each).is_dir() for each in _MARKS):
        raise no_cache_in(place)
    return open_storage(url, folder)


def no_cache_in(place: Path) -> NotFound:
    """Of a folder that was mistyped more likely than it is to be served later."""
    why = "It has no objects." if place.is_dir() else "There is no such folder; slapos cache serve makes it."
    return NotFound(
        f"There is no cache in {place}.", why, "Name the one that is served: --folder FOLDER, or --cfg FILE."
    )


def _place(url: str, folder: Path) -> Path | None:
    """The folder that a URL names; None for an object store."""
    parts = urlsplit(url)
    if not parts.scheme:
        return folder / Path(url).expanduser()
    if parts.scheme == "file" and not parts.netloc:
        return Path(unquote(parts.path))
    if parts.scheme == "s3":
        return None
    raise InvalidInput(
        f"{url.partition('?')[0]!r} is no storage.", "It is a folder, or s3://BUCKET/PREFIX?endpoint=URL."
    )
