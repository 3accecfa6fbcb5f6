"""slap:download: a file from the network, checked by its digest, unpacked or as it is."""

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from slap.model.cache.material import Material, MaterialKind, plain_url
from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import SoftwarePart
from slap.system import archive
from slap.system.fetch import MOST_BYTES, Download, fetch, local_path

DIGEST = r"[0-9a-f]{64}"
A_DIGEST = "the SHA-256 of the file, 64 hexadecimal digits (any value will do at first: the error tells the right one)"


class Recipe(SoftwarePart):
    """Options: url, sha256, filename, mode, unpack, strip, max-size."""

    guide = "download"
    can_be_shared = True

    def read(self, options: OptionReader) -> None:
        self.download = read_download(options, self.base)
        self.unpack = options.flag("unpack")
        self.strip = options.number("strip", 0)
        self.filename = options.matching("filename", r"[^/\0]+", "a name without slashes", name_in(self.download.url))
        self.mode = options.mode("mode", "644")
        # What a profile refers to: the file, or the folder that it was unpacked into.
        self.options["target"] = str(self.location if self.unpack else self.location / self.filename)

    def make(self, part: Path) -> None:
        found = fetch_for(self, self.download)
        if self.unpack:
            archive.unpack(found, part, archive.Unpacking(self.strip))
        else:
            shutil.copyfile(found, part / self.filename)
            (part / self.filename).chmod(self.mode)


def read_download(options: OptionReader, base: Path) -> Download:
    """The options url, sha256 and max-size, which several recipes have."""
    url = options.text("url", what="where the file comes from")
    if local_path(url) is None and urlsplit(url).scheme not in ("http", "https"):
        options.problem("url", f"is {url!r}: write http:, https:, file: or a path")
    sha256 = options.matching("sha256", DIGEST, A_DIGEST)
    local = local_path(url)
    where = str(base / local) if url and local else url
    return Download(where, sha256, options.size("max-size", str(MOST_BYTES)))


def fetch_for(part: SoftwarePart, download: Download) -> Path:
    """Fetch into the part's cache, with progress in the build's log."""
    if part.offline and local_path(download.url) is None and not (part.downloads / download.digest).exists():
        raise RecipeError(
            f"Part [{part.name}] needs {download.url}, but buildout is offline.",
            resolution="Run it online once, with a download-cache in [buildout].",
        )
    part.logger.info("Getting %s", download.url)
    digests = {"sha256": download.digest}
    part.materials.append(
        Material(kind=MaterialKind.FILE, name=name_in(download.url), url=plain_url(download.url), digests=digests)
    )
    return fetch(download, part.downloads, part.logger.info)


def name_in(url: str) -> str:
    """The last part of a URL's path, or a name made of the URL where it has none."""
    name = unquote(PurePosixPath(urlsplit(url).path).name)
    return name if name and "/" not in name and name != ".." else hashlib.sha256(url.encode()).hexdigest()[:16]
