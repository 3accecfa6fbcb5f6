"""HTTP by requests: JSON calls to our own services, and bounded downloads from anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import requests

from slap.model.errors import NotFound, Unreachable


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes


class Transport(Protocol):
    """Sends one request and returns what came back, whatever its status; raises Unreachable when nothing did."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply: ...


class HttpTransport:
    """Keeps connections open between requests. Use one per thread."""

    def __init__(self) -> None:
        self._session = requests.Session()
        # Nothing of ours goes through a proxy or a .netrc that the environment names.
        self._session.trust_env = False

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        try:
            response = self._session.request(
                method, url, headers=dict(headers), data=body, timeout=timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            raise Unreachable(
                f"No answer from {url.split('?')[0]}.",
                _reason(error),
                "Check that the master runs and that its URL is right.",
            ) from error
        return Reply(response.status_code, response.content)


def fetch_text(url: str, limit: int = 1 << 20, timeout: float = 20) -> str:
    """A small text document; raises NotFound, or Unreachable with the reason, and never reads more than `limit` bytes."""
    try:
        with requests.get(url, timeout=timeout, stream=True) as response:
            if response.status_code != 200:
                raise NotFound(
                    f"{url} cannot be read.", f"The server answered {response.status_code} {response.reason}."
                )
            content = response.raw.read(limit + 1, decode_content=True)
    except requests.RequestException as error:
        raise Unreachable(f"{url} cannot be read.", _reason(error)) from error
    if len(content) > limit:
        raise Unreachable(f"{url} cannot be read.", f"It is larger than {limit} bytes.")
    return str(content.decode(errors="replace"))


def _reason(error: requests.RequestException) -> str:
    """The innermost cause, which is what tells a refused connection from a name that does not resolve."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return str(cause) or type(cause).__name__
