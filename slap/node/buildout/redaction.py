"""Hide a partition's token in the output of builds: profiles have it in the master's URL."""

import io
from typing import TextIO
from urllib.parse import quote

_HIDDEN = "***"
_LONG = 16


def redact(text: str, secret: str) -> str:
    """The text with a secret replaced: as it stands, URL-quoted, and a token's secret part alone."""
    tail = secret.rpartition(":")[2]
    for hidden in filter(None, (secret, quote(secret, safe=""), tail if len(tail) >= _LONG else "")):
        text = text.replace(hidden, _HIDDEN)
    return text


class RedactingStream(io.TextIOBase):
    """Writes text to another stream with a secret replaced."""

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
