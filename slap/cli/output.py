"""How things look on a terminal: colours, ages, durations, and text from strangers made harmless."""

import re
import sys
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import TextIO

from slap.model.errors import SlapError
from slap.model.state import Status
from slap.system import environment
from slap.system.trust.terminal import escape_controls

# Builds and services colour what they print: that is dropped, where other control characters are escaped.
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

_UNITS = ((86400 * 2, 86400, "d"), (3600 * 2, 3600, "h"), (60 * 2, 60, "min"))


class Style(StrEnum):
    """What a piece of text means; the value is its terminal attribute."""

    PLAIN = ""
    BOLD = "1"
    FAINT = "2"
    GOOD = "32"
    BUSY = "33"
    BAD = "31"
    BAD_HEADING = "1;31"


STATUS_STYLES = {
    Status.STARTED: Style.GOOD,
    Status.ERROR: Style.BAD,
    Status.STOPPED: Style.FAINT,
    Status.DESTROYED: Style.FAINT,
}


def status_style(status: Status) -> Style:
    return STATUS_STYLES.get(status, Style.BUSY)


def has_colours(stream: TextIO) -> bool:
    """Only a terminal gets colours, and not one whose owner does not want them (https://no-color.org)."""
    return stream.isatty() and not environment.variable("NO_COLOR") and environment.variable("TERM") != "dumb"


def paint(text: str, style: Style, stream: TextIO) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style and has_colours(stream) else text


def harmless(text: str) -> str:
    """Text of foreign origin without terminal sequences, other control characters escaped; line ends and tabulators stay."""
    return escape_controls(_SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


def duration(seconds: float) -> str:
    """A span of time as people say it: 0.4 s, 12 s, 3 min 20 s, 2 h 05 min, 45 d 03 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    days, of_day = divmod(hours, 24)
    if days:
        return f"{days} d {of_day:02} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def age(then: datetime | None, now: datetime) -> str:
    """How long ago something was, in one unit: 12 s, 3 min, 5 h, 9 d."""
    if then is None:
        return "never"
    seconds = max(0, int((now - then).total_seconds()))
    for threshold, unit, name in _UNITS:
        if seconds >= threshold:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def short_release(url: str) -> str:
    """The name by which people call a release: its folder, or the file when it is not called software.cfg."""
    *folders, last = url.rstrip("/").split("/")
    return folders[-1] if last == "software.cfg" and folders else last.removesuffix(".cfg")


def say(text: str = "", style: Style = Style.PLAIN) -> None:
    """A line for the person at the terminal, with the control characters of others escaped; stdout is for data alone."""
    print(paint(harmless(text), style, sys.stderr), file=sys.stderr, flush=True)


def show_error(error: SlapError) -> None:
    """What happened, why, and what to do next."""
    say(error.brief, Style.BAD_HEADING)
    for line in harmless(error.details).splitlines():
        say(f"  {line}")
    if error.resolution:
        say(f"Next: {error.resolution}", Style.BOLD)


def columns(rows: Iterable[tuple[str, str]], indent: int = 2) -> str:
    """Labels and values under each other; a value of several lines stays in its column."""
    table = [(label, value.splitlines() or [""]) for label, value in rows]
    width = max((len(label) for label, _ in table), default=0)
    margin = " " * indent
    lines = [
        f"{margin}{label if number == 0 else '':<{width}}  {line}".rstrip()
        for label, value in table
        for number, line in enumerate(value)
    ]
    return "\n".join(lines)
