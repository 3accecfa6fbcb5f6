"""Files on a server by WebDAV: small ones as they are, large ones from disk to disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import requests
from urllib3.exceptions import HTTPError

from slap.model.errors import StorageFull, Unauthenticated, Unreachable

_PATIENCE = 60.0  # seconds without a byte
_CHUNK = 1 << 20
_FULL = 507


class Dav(Protocol):
    """Paths are below the server's URL. Raises Unreachable, Unauthenticated or StorageFull."""

    def get(self, path: str) -> bytes | None:
        """None for what is not there."""

    def put(self, path: str, content: bytes | IO[bytes]) -> None:
        """Write a whole file, with the folders above it; readers see either the former or this one."""

    def download(self, path: str, target: Path) -> None: ...

    def delete(self, path: str) -> None:
        """A folder's path ends in a slash, and goes with all that is in it; nothing happens to what is not there."""


@dataclass(frozen=True)
class WebDav:
    """A server that is known by its certificate, and that knows us by a password."""

    url: str
    user: str
    password: str
    certificate: Path

    def get(self, path: str) -> bytes | None:
        with self._answer("GET", path) as answer:
            if answer.status_code == requests.codes.not_found:
                return None
            self._check(answer)
            return answer.content

    def put(self, path: str, content: bytes | IO[bytes]) -> None:
        with self._answer("PUT", path, data=content) as answer:
            self._check(answer)

    def download(self, path: str, target: Path) -> None:
        with self._answer("GET", path) as answer:
            self._check(answer)
            with target.open("wb") as file:
                for piece in answer.iter_content(_CHUNK):
                    file.write(piece)

    def delete(self, path: str) -> None:
        with self._answer("DELETE", path) as answer:
            if answer.status_code != requests.codes.not_found:
                self._check(answer)

    @contextmanager
    def _answer(self, method: str, path: str, data: bytes | IO[bytes] | None = None) -> Iterator[requests.Response]:
        known: dict[str, Any] = {"auth": (self.user, self.password), "verify": str(self.certificate)}
        try:
            with requests.Session() as session:
                session.trust_env = False  # neither proxies nor authorities of this system have a say
                url = f"{self.url}{path}"
                with session.request(method, url, data=data, stream=True, timeout=_PATIENCE, **known) as answer:
                    self._check_access(answer)
                    yield answer
        except (requests.RequestException, HTTPError) as error:
            raise Unreachable(
                f"{self.url} cannot be used.", str(error), "Check that the vault runs, and that it is the one you mean."
            ) from error

    def _check_access(self, answer: requests.Response) -> None:
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise Unauthenticated(
                f"{self.url} does not let us in.",
                f"It answered {answer.status_code}.",
                "Order backup with its password.",
            )
        if answer.status_code == _FULL:
            raise StorageFull(f"{self.url} is full.", resolution="Keep fewer backups, or use a vault with more room.")

    def _check(self, answer: requests.Response) -> None:
        if not answer.ok:
            raise Unreachable(f"{self.url} cannot be used.", f"It answered {answer.status_code} {answer.reason}.")


@dataclass(frozen=True)
class FolderDav:
    """The same on a folder: a server that is not far."""

    folder: Path

    def get(self, path: str) -> bytes | None:
        file = self.folder / path
        return file.read_bytes() if file.exists() else None

    def put(self, path: str, content: bytes | IO[bytes]) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.read())

    def download(self, path: str, target: Path) -> None:
        shutil.copyfile(self.folder / path, target)

    def delete(self, path: str) -> None:
        target = self.folder / path
        if path.endswith("/"):
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
