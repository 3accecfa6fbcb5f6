"""The tokens of those who may write: a file of their SHA-256 and names, one a line."""

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path

from slap.model.errors import InvalidInput, NotFound
from slap.system import files


class TokenFile:
    """Read again when it changed, so that a token that was taken away ends at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, ...] = ()
        self._names: Mapping[str, str] = {}

    def name(self, token: str) -> str:
        """Whose a token is; empty for one that is not known."""
        return self._load().get(_digest(token), "") if token else ""

    def names(self) -> list[str]:
        """Each once, though it may have several tokens."""
        return sorted(set(self._load().values()))

    def add(self, name: str) -> str:
        """A new token, whose words are stored nowhere."""
        if not name or len(name) > 100 or not name.isprintable():
            raise InvalidInput(f"{name!r} is no name for a token.", "It is one line that says whose it is.")
        token = f"cache:{secrets.token_urlsafe(32)}"
        with files.exclusive(self._path.with_name(f"{self._path.name}.lock")):
            self._write({**_parse(self._path), _digest(token): name})
        return token

    def remove(self, name: str) -> None:
        """All tokens of a name end; raises NotFound when there is none."""
        with files.exclusive(self._path.with_name(f"{self._path.name}.lock")):
            known = _parse(self._path)
            if name not in known.values():
                there = ", ".join(self.names()) or "nobody"
                raise NotFound(f"There is no token of {name!r}.", f"There are tokens of: {there}.")
            self._write({digest: each for digest, each in known.items() if each != name})

    def _load(self) -> Mapping[str, str]:
        if (version := _version(self._path)) != self._version:
            self._names, self._version = _parse(self._path), version
        return self._names

    def _write(self, names: Mapping[str, str]) -> None:
        files.write(self._path, "".join(f"{digest} {name}\n" for digest, name in names.items()), 0o600)


def _version(path: Path) -> tuple[int, ...]:
    """Differs between any two states of the file: a clock that ticks every few milliseconds would not do alone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0,)
    return status.st_ino, status.st_mtime_ns, status.st_size


def _parse(path: Path) -> dict[str, str]:
    lines = (line.partition(" ") for line in files.read_or(path, "").splitlines())
    return {digest: name for digest, _, name in lines if digest and name}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
