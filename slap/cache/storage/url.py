"""Storage by its URL: a path or file:///PATH is a folder, s3://BUCKET/PREFIX an object store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from slap.cache.storage.folder import Folder
from slap.cache.storage.s3 import open_s3
from slap.cache.storage.storage import Storage
from slap.model.errors import InvalidInput
from slap.system.trust.cloud_keys import find_cloud_keys


def open_storage(url: str, folder: Path) -> Storage:
    """The storage that a URL names; relative paths start at `folder`."""
    parts = urlsplit(url)
    if not parts.scheme:
        return Folder(folder / Path(url).expanduser())
    if parts.scheme == "file" and not parts.netloc:
        return Folder(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        return open_s3(url, find_cloud_keys(Path.home()))
    raise InvalidInput(
        f"{url.partition('?')[0]!r} is no storage.", "It is a folder, or s3://BUCKET/PREFIX?endpoint=URL."
    )
