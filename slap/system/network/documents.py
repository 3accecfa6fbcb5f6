"""Small documents at a URL or a path that somebody else names: from where they may be read, in bounded time and size."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from slap.model.errors import InvalidInput, NotFound, SlapError, Unreachable
from slap.system.http import causes, reason
from slap.system.network.address_policy import AddressPolicy, open_session
from slap.system.trust.untrusted_files import open_regular

_PIECE_BYTES = 64 << 10
_MAX_HEADER_BYTES = 256 << 10  # for all documents together
_CONNECT_SECONDS = 5.0  # for each address of a host
_CHECK = "Check the URL or the path, and that it can be read from here."


@dataclass(frozen=True)
class Limits:
    """What all documents that are read for one purpose may take together."""

    seconds: float = 30
    max_bytes: int = 2 << 20
    max_file_bytes: int = 1 << 20
    max_files: int = 100


@dataclass(frozen=True)
class Sources:
    """Where documents may be read: at addresses, and in files below `folders`; `resolution` is for who names another file.

    `as_myself` is for somebody who could read the same without this process: any file may be read, proxies of the
    environment and ~/.netrc count, and an error says what is wrong with a file or a host.
    """

    addresses: AddressPolicy = field(default_factory=AddressPolicy)
    folders: tuple[Path, ...] = ()
    proxy: str = ""
    resolution: str = ""
    as_myself: bool = False


class OverBudget(InvalidInput):
    """Documents take more than they may."""


class Budget:
    """What is left of the limits. It is the meter of every connection, so headers and redirects count, too."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._deadline = monotonic() + limits.seconds
        self._files = self._bytes = self._bytes_on_network = 0

    def begin_file(self) -> None:
        self.seconds_left()
        self._files += 1
        if self._files > self._limits.max_files:
            raise OverBudget(f"There are more than {self._limits.max_files} files.")

    def seconds_left(self, default: Any = None) -> float:
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise Unreachable(f"It did not arrive within {self._limits.seconds:g} seconds.")
        return min(left, default) if isinstance(default, int | float) else left

    def count(self, size: int) -> None:
        """So many bytes arrived from the network, as they were sent."""
        self._bytes_on_network += size
        self._check(self._bytes_on_network, self._limits.max_bytes + _MAX_HEADER_BYTES)

    def add(self, content: bytearray, piece: bytes) -> None:
        """Append a piece to a document."""
        self.seconds_left()
        content += piece
        self._bytes += len(piece)
        self._check(len(content), self._limits.max_file_bytes)
        self._check(self._bytes, self._limits.max_bytes)

    @staticmethod
    def _check(size: int, limit: int) -> None:
        if size > limit:
            raise OverBudget(f"There are more than {limit} bytes.")


class DocumentReader:
    """Reads documents within one budget. For one thread."""

    def __init__(self, sources: Sources, limits: Limits, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._limits = limits
        self._budget = Budget(limits, monotonic)

    def read(self, name: str) -> str:
        """A text. Raises NotFound; InvalidInput where it must not be read, or there is too much of it; Unreachable."""
        try:
            self._budget.begin_file()
            content = self._fetch(name) if urlsplit(name).scheme else self._read_file(name)
        except (OverBudget, Unreachable) as error:
            raise type(error)(f"{name} cannot be read.", error.brief, _CHECK) from error
        return content.decode(errors="replace")

    def _fetch(self, url: str) -> bytearray:
        content, timeout = bytearray(), (_CONNECT_SECONDS, self._limits.seconds)
        try:
            with self._open_session() as session, session.get(url, timeout=timeout, stream=True) as reply:
                if reply.status_code != HTTPStatus.OK:
                    answer = f"The server answered {reply.status_code}."
                    raise NotFound(f"{url} cannot be read.", answer, _CHECK)
                while piece := reply.raw.read1(_PIECE_BYTES, decode_content=True):
                    self._budget.add(content, piece)
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise self._network_failure(url, error) from error
        return content

    def _open_session(self) -> requests.Session:
        """For one document: a server may close a connection that is kept just when the next request comes."""
        sources = self._sources
        session = open_session(sources.addresses, lambda: self._budget, sources.proxy, as_myself=sources.as_myself)
        session.headers["Accept-Encoding"] = "identity"
        return session

    def _network_failure(self, url: str, error: Exception) -> SlapError:
        """Raises Unreachable where the time is over: that is what made the connection fail."""
        self._budget.seconds_left()
        is_unknown = any(isinstance(cause, socket.gaierror) for cause in causes(error))
        if is_unknown and not self._sources.as_myself:
            return self._sources.addresses.refusal(urlsplit(url).hostname or "")
        return Unreachable(reason(error))

    def _read_file(self, path: str) -> bytearray:
        content = bytearray()
        folders = None if self._sources.as_myself else self._sources.folders
        try:
            with open_regular(Path(path), folders) as file:
                while piece := file.read(_PIECE_BYTES):
                    self._budget.add(content, piece)
        except (OSError, ValueError) as error:
            raise self._file_failure(path, error) from error
        return content

    def _file_failure(self, path: str, error: Exception) -> SlapError:
        """Whoever could not read the file without this process is not told what there is."""
        brief = f"{path} cannot be read."
        if not self._sources.as_myself:
            return NotFound(brief, "There is no such file where files may be read.", self._sources.resolution)
        if isinstance(error, FileNotFoundError):
            return NotFound(brief, "There is no such file.", _CHECK)
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return InvalidInput(brief, words, _CHECK)
