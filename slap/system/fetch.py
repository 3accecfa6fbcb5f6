"""Downloads whose digest is known beforehand: bounded, resumed where they broke off, and kept by digest."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from slap.model.cache.material import plain_url
from slap.model.errors import InvalidInput, SlapError, Unreachable
from slap.system import files
from slap.system.clock import Clock, SystemClock
from slap.system.http import reason
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    import requests
else:
    requests = Later("requests")

SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_BYTES = 8 << 30
ATTEMPTS = 4
_CHUNK = 1 << 18
_QUIET = 5.0  # seconds between two lines of progress


class WrongDigest(InvalidInput):
    """What arrived is not what was expected."""

    kind = "wrong-digest"


class TooLarge(InvalidInput):
    """More bytes than were allowed."""

    kind = "too-large"


class _Broken(Exception):
    """A transfer broke off; what arrived is kept, to go on from."""


Sessions = Callable[[], "requests.Session"]


def open_anywhere() -> "requests.Session":
    """A session that reaches whatever this computer reaches."""
    return requests.Session()


@dataclass(frozen=True)
class Download:
    """What to fetch: http, https, file or a plain path, and the digest that it must have, in hashlib's words."""

    url: str
    digest: str
    most_bytes: int = MOST_BYTES
    timeout: float = 30  # seconds without a byte
    algorithm: str = "sha256"
    sessions: Sessions = open_anywhere


Watch = Callable[[int, int], None]  # bytes that are here, of so many; 0 when nobody knows


@dataclass(frozen=True)
class Telling:
    """Who is told how far it is: a line now and then, and each piece. What `watch` raises ends the download."""

    say: Callable[[str], None] = lambda line: None
    watch: Watch = lambda done, total: None


def fetch(download: Download, folder: Path, say: Callable[[str], None], clock: Clock | None = None) -> Path:
    """The downloaded file, named by its digest in `folder`, fetched only when it is not there yet.

    Several processes may ask for the same one: the first fetches, the others wait.
    """
    return fetch_watched(download, folder, Telling(say), clock)


def fetch_watched(download: Download, folder: Path, telling: Telling, clock: Clock | None = None) -> Path:
    """The same, with who is told more of it."""
    files.make_folder(folder)
    whole = folder / download.digest
    if _is_there(whole, download):
        return whole
    with files.exclusive(folder / f".{download.digest}.lock"):
        if not _is_there(whole, download):
            _fetch(download, whole, _Progress(download.url, telling, clock or SystemClock()))
    return whole


def partial_of(whole: Path) -> Path:
    """What arrived so far of a file that is not whole yet."""
    return whole.with_name(f".{whole.name}.partial")


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def keep(found: Path, kept: Path) -> None:
    """Move a file or folder into a cache, whole or not at all, even from another file system."""
    aside = kept.with_name(f".{kept.name}.{os.getpid()}.aside")
    files.remove_tree(aside)
    shutil.move(found, aside)
    try:
        aside.replace(kept)
    except OSError:  # somebody else has put the same folder there in the meantime
        files.remove_tree(aside)
        if not kept.exists():
            raise


def local_path(url: str) -> Path | None:
    """The path that a file: URL or a plain path names; None for anything on the network."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(url)


def _is_there(path: Path, download: Download) -> bool:
    """A cache is only trusted as far as its content says what its name says."""
    if not path.is_file():
        return False
    if digest_of(path, download.algorithm) == download.digest:
        return True
    path.unlink()
    return False


def _fetch(download: Download, whole: Path, progress: "_Progress") -> None:
    partial = partial_of(whole)
    source = local_path(download.url)
    if source is None:
        _with_attempts(download, partial, progress)
    else:
        _copy(source, partial)
    actual = digest_of(partial, download.algorithm)
    if actual != download.digest:
        partial.unlink()
        raise _wrong_digest(download, actual)
    partial.replace(whole)


def _copy(source: Path, partial: Path) -> None:
    try:
        shutil.copyfile(source, partial)
    except FileNotFoundError as error:
        raise InvalidInput(f"{source} does not exist.", resolution="Correct the url option.") from error


def _with_attempts(download: Download, partial: Path, progress: "_Progress") -> None:
    reasons = []
    for attempt in range(ATTEMPTS):
        if attempt:
            progress.clock.sleep(2**attempt)
        try:
            return _transfer(download, partial, progress)
        except _Broken as broken:
            reasons.append(str(broken))
            progress.say(f"Broke off: {broken}")
    raise Unreachable(
        f"{plain_url(download.url)} cannot be downloaded.",
        f"{len(reasons)} attempts; the last one: {reasons[-1]}",
        "Check the URL and the network, then try again: it goes on where it broke off.",
    )


def _transfer(download: Download, partial: Path, progress: "_Progress") -> None:
    have = partial.stat().st_size if partial.exists() else 0
    with _reply(download, have) as response:
        if response.status_code == 416:  # there is nothing after what we have: whole, or of something else
            return
        resumes = response.status_code == 206
        with partial.open("ab" if resumes else "wb") as file:
            _receive(response, file, download, progress.starting(have if resumes else 0, response))


@contextmanager
def _reply(download: Download, have: int) -> Iterator["requests.Response"]:
    # Compression on the way would change where to go on from.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with (
            download.sessions() as session,
            session.get(download.url, headers=headers, stream=True, timeout=download.timeout) as response,
        ):
            if response.status_code >= 500:
                raise _Broken(f"{response.status_code} {response.reason}")
            if response.status_code not in (200, 206, 416):
                raise _refused(download, response)
            yield response
    except requests.RequestException as error:
        raise _Broken(reason(error)) from error


def _receive(response: "requests.Response", file: IO[bytes], download: Download, progress: "_Progress") -> None:
    # A short answer is seen below; as an error, it would take away what arrived of it.
    response.raw.enforce_content_length = False
    # Some servers take the suffix .gz for an encoding. The digest is of the file as it lies there, as curl saves it.
    response.raw.headers.pop("Content-Encoding", None)
    for chunk in response.iter_content(_CHUNK):
        progress.add(len(chunk))
        if progress.done > download.most_bytes:
            raise TooLarge(
                f"{plain_url(download.url)} is too large.",
                f"It has more than {download.most_bytes} bytes.",
                "Raise max-size if that is expected.",
            )
        file.write(chunk)
    if progress.total and progress.done < progress.total:
        raise _Broken(f"{progress.done} of {progress.total} bytes arrived")


def _refused(download: Download, response: "requests.Response") -> SlapError:
    return Unreachable(
        f"{plain_url(download.url)} cannot be downloaded.",
        f"The server answered {response.status_code} {response.reason}.",
        "Check the URL.",
    )


def _wrong_digest(download: Download, actual: str) -> WrongDigest:
    return WrongDigest(
        "A download is not what was expected.",
        f"URL:      {plain_url(download.url)}\nexpected: {download.digest}\nactual:   {actual}",
        f"If the new content is right, put the actual digest into the {download.algorithm} option; "
        "otherwise somebody changed it.",
    )


class _Progress:
    """Tells now and then how far a download is; short ones pass without a word."""

    def __init__(self, url: str, telling: Telling, clock: Clock) -> None:
        self.say = telling.say
        self._watch = telling.watch
        self.clock = clock
        self.done = 0
        self.total = 0
        self._name = plain_url(url).rsplit("/", 1)[-1]
        self._told = clock.monotonic()

    def starting(self, have: int, response: "requests.Response") -> "_Progress":
        self.done = have
        length = response.headers.get("Content-Length") or ""
        self.total = have + int(length) if length.isascii() and length.isdecimal() else 0
        self._watch(self.done, self.total)
        return self

    def add(self, size: int) -> None:
        self.done += size
        self._watch(self.done, self.total)
        now = self.clock.monotonic()
        if now - self._told >= _QUIET:
            self._told = now
            of_total = f" of {self.total >> 20} MiB" if self.total >= self.done else ""
            self.say(f"Downloading {self._name}: {self.done >> 20} MiB{of_total}")
