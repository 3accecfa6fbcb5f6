"""Downloads of profiles and files as SlapOS profiles expect them: checked by MD5, with mirrors.

`extends = URL#MD5` and `url = URL#MD5` are checked; ${:_profile_base_location_} is the folder of the profile that says so.
"""

import re
from pathlib import Path
from typing import Any, TextIO

import zc.buildout.buildout
import zc.buildout.configparser
import zc.buildout.download
from zc.buildout import UserError
from zc.buildout.download import ChecksumError, check_md5sum

BASE = "_profile_base_location_"
_REFERENCE = f"${{:{BASE}}}"
_CHECKED = re.compile(r"(?P<place>[^#]+)#(?:md5=)?(?P<md5>[0-9a-f]{32})")
_DOWNLOADED = re.compile(r" \(downloaded as .*\)$")
_stock_open = zc.buildout.buildout._open
_stock_parse = zc.buildout.configparser.parse


class Download(zc.buildout.download.Download):  # type: ignore[misc]
    """A download that also verifies `URL#MD5` and tries a mirror.

    The cache is for what is checked, or is not to be had otherwise: a file on this disk, or one of which nobody says what
    it shall be, is taken as it is now.
    """

    def __call__(
        self, url: str, md5sum: str | None = None, path: str | None = None, alternate_url: str | None = None
    ) -> tuple[str, bool]:
        place, digest = split_digest(url)
        try:
            return self._get(place, md5sum or digest, path)
        except UserError:
            if not alternate_url:
                raise
            self.logger.info("%s is not to be had: %s is tried.", place, alternate_url)
            return self._get(alternate_url, md5sum or digest, path)

    def _get(self, url: str, md5sum: str | None, path: str | None) -> tuple[str, bool]:
        if not is_remote(url):
            return self.download(url.removeprefix("file://"), md5sum, path)  # type: ignore[no-any-return]
        if not (self.cache and self.cache_dir):
            return super().__call__(url, md5sum, path)  # type: ignore[no-any-return]
        cached = Path(self.cache_dir) / self.filename(url)
        if md5sum and not self.offline and cached.exists() and not check_md5sum(str(cached), md5sum):
            cached.unlink(missing_ok=True)  # the profile speaks of a newer one
        if not (md5sum or self.offline):
            self.fallback = True  # the cached one is for when it is not to be had
        return super().__call__(url, md5sum, path)  # type: ignore[no-any-return]


def speak() -> None:
    zc.buildout.download.Download = Download
    zc.buildout.buildout._open = _open
    zc.buildout.configparser.parse = _parse


def split_digest(place: str) -> tuple[str, str | None]:
    """Split `URL#MD5` into the URL and the digest."""
    found = _CHECKED.fullmatch(place)
    return (found["place"], found["md5"]) if found else (place, None)


def is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file://")


def base_of(profile: str) -> str:
    """The folder, or the URL of the folder, that a profile lies in."""
    return profile.rpartition("/")[0] or "."


def _open(base: str, filename: str, *more: Any) -> Any:
    """Open a profile, verifying one on this disk; others are verified when they are downloaded."""
    place, digest = split_digest(filename)
    if digest is None or is_remote(place) or is_remote(base):
        return _stock_open(base, filename, *more)
    path = Path(base, place)
    if not check_md5sum(str(path), digest):
        raise ChecksumError(f"MD5 checksum mismatch for profile {path}")
    return _stock_open(base, place, *more)


def _parse(file: TextIO, name: str, *more: Any) -> dict[str, dict[str, str]]:
    """Parse a profile; sections that refer to the profile's location get it as an option."""
    sections: dict[str, dict[str, str]] = _stock_parse(file, name, *more)
    profile, _ = split_digest(_DOWNLOADED.sub("", name))
    if "/" in profile:
        for section in sections.values():
            if any(_REFERENCE in text for text in section.values()):
                section.setdefault(BASE, base_of(profile))
    return sections
