"""Asking directories of caches, as nodes do: over one connection, without a proxy, and not for long."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from slap.cli.output import Style, say
from slap.model.errors import NotFound, SlapError, Unreachable
from slap.system.network.http_connection import Answer, Ask, Line
from slap.system.transport import Tls

_SILENCE = 10.0  # seconds without a byte
_LONGEST = 20.0  # seconds for all of an answer


def ask_directories(urls: Sequence[str], tls: Tls) -> list[str]:
    """The answers of those that know what they are asked for; raises NotFound when none does, and Unreachable when one
    that does not answer might."""
    with ThreadPoolExecutor(len(urls)) as pool:
        answers = list(pool.map(partial(_tried, tls), urls))
    found = [answer for answer in answers if isinstance(answer, str)]
    failures = [answer for answer in answers if isinstance(answer, Unreachable)]
    if not found:
        raise failures[0] if failures else NotFound("Nothing is there.")
    for failure in failures:
        say(failure.brief, Style.BAD)
    return found


def _tried(tls: Tls, url: str) -> str | SlapError:
    try:
        return _ask(url, tls)
    except (NotFound, Unreachable) as error:
        return error


def _ask(url: str, tls: Tls) -> str:
    line = Line(tls, _SILENCE)
    timer = threading.Timer(_LONGEST, line.cut)
    timer.start()
    try:
        answer = line.ask(Ask("GET", url))
    finally:
        timer.cancel()
        line.close()
    return _good(url, answer)


def _good(url: str, answer: Answer) -> str:
    if answer.status == 404:
        raise NotFound(f"{url} does not exist.")
    if answer.status != 200:
        raise Unreachable(f"{url} cannot be read.", f"The server answered {answer.status}.", "Check the URL.")
    return answer.body.decode(errors="replace")
