"""What a build says, without the token that it was given: profiles have it in the master's URL, and recipes log that."""

import io
from typing import TextIO
from urllib.parse import quote

_HIDDEN = "***"
_LONG = 16


def redact(text: str, secret: str) -> str:
    """A text without a secret: as it is, as it stands in a URL, and the part of a token that nobody could guess."""
    tail = secret.rpartition(":")[2]
    for hidden in filter(None, (secret, quote(secret, safe=""), tail if len(tail) >= _LONG else "")):
        text = text.replace(hidden, _HIDDEN)
    return text


class RedactingStream(io.TextIOBase):
    """Writes to another stream what is fit to be read."""

    def __init__(self, stream: TextIO, secret: str) -> None:
        self._stream = stream
        self._secret = secret

    def write(self, text: str) -> int:
        self._stream.write(redact(text, self._secret))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding
