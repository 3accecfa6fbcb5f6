"""Section [networkcache] of slapos.cfg: which caches to take builds from, and where to leave one's own."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from slap.model.base import Frozen
from slap.model.errors import InvalidInput
from slap.system.transport import Tls

# A cache that has both at their usual places has its own protocol beside them.
_USUAL_PATH = re.compile(r"(.*)/(sha)?cache/?")
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)i?B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Cache(Frozen):
    """One cache by its URLs: the blobs and the directory of SlapOS's protocol, and where its own protocol begins."""

    blobs: str
    directory: str
    own: str = ""  # empty for one that cannot have ours

    @property
    def name(self) -> str:
        """As people call it, without a password that may be in the URL."""
        parts = urlsplit(self.own or self.blobs)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def origin(self) -> tuple[str, str]:
        """Whom it belongs to, as far as URLs tell: how it is reached, and the host and port there."""
        parts = urlsplit(self.own or self.blobs)
        return parts.scheme, parts.netloc.rpartition("@")[2].lower()


class Settings(Frozen):
    """What the section says. No cache, and nothing is looked up; nowhere to upload to, and nothing is uploaded."""

    caches: tuple[Cache, ...] = ()
    upload: Cache | None = None
    key_file: Path | None = None  # signs what this node built
    token_file: Path | None = None  # lets this node write to the upload cache
    authority: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    never_download: tuple[str, ...] = ()  # beginnings of URLs of releases
    never_upload: tuple[str, ...] = ()
    only_from_cache: tuple[str, ...] = ()
    slapos_certificates: str = ""
    chunk_limit: int = 2 << 30  # bytes of chunks that are kept for what comes next

    @property
    def tls(self) -> Tls:
        return Tls(self.authority, self.certificate, self.certificate_key)

    def may_download(self, url: str) -> bool:
        return bool(self.caches) and not url.startswith(self.never_download)

    def may_upload(self, url: str) -> bool:
        return self.upload is not None and not url.startswith(self.never_upload)


def read_settings(section: Mapping[str, str], root: Path) -> Settings:
    """The settings in a section; relative paths are below the node's `root`. Raises InvalidInput with all mistakes."""
    given = {name.replace("_", "-"): value.strip() for name, value in section.items()}
    reader = _Reader(given, root)
    uploads = reader.caches("upload-binary")
    settings = Settings(
        caches=reader.caches("download-binary"),
        upload=uploads[0] if uploads else None,
        key_file=reader.path("signature-private-key-file", root / "etc/cache.key"),
        token_file=reader.path("token-file", root / "etc/cache.token"),
        authority=reader.path("shacache-ca-file"),
        certificate=reader.path("shacache-cert-file"),
        certificate_key=reader.path("shacache-key-file"),
        never_download=reader.lines("download-from-binary-cache-url-blacklist", "binary-cache-url-blacklist"),
        never_upload=reader.lines("upload-to-binary-cache-url-blacklist", "binary-cache-url-blacklist"),
        only_from_cache=reader.lines("download-from-binary-cache-force-url-list"),
        slapos_certificates=given.get("signature-certificate-list", ""),
        chunk_limit=reader.size("chunk-limit", 2 << 30),
    )
    reader.finish()
    return settings


def cache_at(url: str) -> Cache:
    """The cache whose own protocol begins at a URL."""
    base = url.rstrip("/")
    return Cache(blobs=f"{base}/cache", directory=f"{base}/dir", own=base)


class _Reader:
    """Takes options one by one, and remembers what was wrong with them."""

    def __init__(self, given: Mapping[str, str], root: Path) -> None:
        self._given = given
        self._root = root
        self._problems = [f"option {name} is not known" for name in sorted(given) if name not in _KNOWN]

    def caches(self, which: str) -> tuple[Cache, ...]:
        """Pairs of URLs, one pair a line; or `cache-url`/`upload-url`, where one URL says both."""
        short = "upload-url" if which.startswith("upload") else "cache-url"
        own = tuple(cache_at(url) for url in self._urls(short))
        blobs, directories = self._urls(f"{which}-cache-url"), self._urls(f"{which}-dir-url")
        if len(blobs) != len(directories):
            self._problems.append(f"options {which}-cache-url and {which}-dir-url have different numbers of URLs")
        pairs = zip(blobs, directories, strict=False)
        return own + tuple(Cache(blobs=blob, directory=folder, own=_own(blob)) for blob, folder in pairs)

    def path(self, name: str, default: Path | None = None) -> Path | None:
        value = self._given.get(name, "")
        return self._root / value if value else default

    def lines(self, *names: str) -> tuple[str, ...]:
        return tuple(url for name in names for url in self._given.get(name, "").split())

    def size(self, name: str, default: int) -> int:
        value = self._given.get(name, "")
        match = _SIZE.fullmatch(value)
        if value and not match:
            self._problems.append(f"option {name} is {value!r}: write a size such as 2 GiB")
        return int(match[1]) * _UNITS[match[2].upper()] if match else default

    def finish(self) -> None:
        if self._problems:
            raise InvalidInput("Section [networkcache] is wrong.", "\n".join(self._problems), "Mend these options.")

    def _urls(self, name: str) -> tuple[str, ...]:
        urls = self.lines(name)
        self._problems += [f"option {name} has {url!r}: write an http or https URL" for url in _not_urls(urls)]
        return tuple(url.rstrip("/") for url in urls)


def _own(blobs: str) -> str:
    match = _USUAL_PATH.fullmatch(blobs)
    return match[1] if match else ""


def _not_urls(urls: Iterable[str]) -> list[str]:
    return [url for url in urls if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname]


_WORDS = """
    cache-url upload-url token-file chunk-limit signature-private-key-file signature-certificate-list
    download-binary-cache-url download-binary-dir-url upload-binary-cache-url upload-binary-dir-url
    download-cache-url download-dir-url upload-cache-url upload-dir-url binary-cache-url-blacklist
    download-from-binary-cache-url-blacklist upload-to-binary-cache-url-blacklist
    download-from-binary-cache-force-url-list shacache-ca-file shacache-cert-file shacache-key-file shadir-ca-file
    shadir-cert-file shadir-key-file
"""
_KNOWN = frozenset(_WORDS.split())
