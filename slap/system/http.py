"""Small documents from anywhere, by requests, in bounded time and size."""

import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING

from slap.model.errors import NotFound, Unreachable
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    import requests
    from urllib3 import exceptions
else:
    requests, exceptions = Later("requests"), Later("urllib3.exceptions")

_CHECK = "Check the URL, and that its server can be reached from here."


def fetch_text(url: str, limit: int = 1 << 20, timeout: float = 20) -> str:
    """A small text document; raises NotFound, or Unreachable with the reason.

    Never reads much more than `limit` bytes, and never takes much longer than twice `timeout`, whatever the server does.
    """
    status, text = _fetch(url, limit, timeout)
    if status != HTTPStatus.OK:
        raise NotFound(f"{url} cannot be read.", f"The server answered {text}.", _CHECK)
    return text


def _fetch(url: str, limit: int, timeout: float) -> tuple[int, str]:
    """The status and the document; for another status than 200, its words in place of the document."""
    try:
        with requests.get(url, timeout=timeout, stream=True) as response:
            if response.status_code != HTTPStatus.OK:
                return response.status_code, f"{response.status_code} {response.reason}"
            return response.status_code, _bounded(response, limit, timeout).decode(errors="replace")
    except (requests.RequestException, exceptions.HTTPError) as error:
        raise Unreachable(f"{url} cannot be read.", reason(error), _CHECK) from error


def _bounded(response: "requests.Response", limit: int, timeout: float) -> bytes:
    """The body, as long as it comes in time: the timeout of requests is only that of a single read."""
    content = b""
    deadline = time.monotonic() + timeout
    while piece := response.raw.read1(1 << 16, decode_content=True):
        content += piece
        if len(content) > limit:
            raise Unreachable(f"{response.url} cannot be read.", f"It is larger than {limit} bytes.")
        if time.monotonic() > deadline:
            raise Unreachable(f"{response.url} cannot be read.", f"It did not arrive within {timeout:g} seconds.")
    return content


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it, the innermost last."""
    cause: BaseException | None = error
    while cause:
        yield cause
        cause = cause.__cause__ or cause.__context__


def reason(error: BaseException) -> str:
    """The innermost cause, which is what tells a refused connection from a name that does not resolve."""
    *_, cause = causes(error)
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{words or type(cause).__name__}."
