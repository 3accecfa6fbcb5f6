"""Control characters in text that others wrote: escaped before they reach a terminal or a log.

This module is on the way of every command: it loads nothing beyond the standard library.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any, TextIO

# C0 but for line ends and tabulators, DEL, C1, line separators of Unicode, and what changes the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# The styles by which `slapos` colours its own words on a terminal.
_OWN_STYLE = re.compile("(\x1b\\[(?:0|1|2|3[123]|1;31)m)")


def escape_controls(text: str) -> str:
    """The text with each control character written as an escape, such as \\x1b; line ends and tabulators stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class LogFormatter(logging.Formatter):
    """Formats records for the logs of all our processes: messages and tracebacks have no control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        record.message = escape_controls(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        return escape_controls(super().formatException(ei))


class SafeStream:
    """A stream for text, in which control characters are escaped; a terminal still gets our own colours."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream.isatty():
            pieces = _OWN_STYLE.split(text)  # styles are at odd places
            text = "".join(piece if number % 2 else escape_controls(piece) for number, piece in enumerate(pieces))
        else:
            text = escape_controls(text)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def server_log_config(level: str = "INFO") -> dict[str, Any]:
    """The logging of a server's processes, for uvicorn: its lines and ours on stderr, in one format."""
    line = {"()": LogFormatter, "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level, "handlers": ["err"]},
    }
