"""HTTP calls of the slap tool protocol: forms, marshalled XML, and the mapping of failures to errors."""

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from slap.client.identity import PartitionIdentity
from slap.model.errors import Forbidden, InvalidInput, NotFound, NotReady, SlapError, Unauthenticated, Unreachable
from slap.system import marshal
from slap.system.transport import Reply, Transport

# A slapproxy with thousands of partitions takes seconds for the state of a computer.
TIMEOUT_SECONDS = 60.0

_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "*/*"}
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_MAX_REASON_CHARACTERS = 500


class SlapToolClient:
    """Sends requests to one master."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.base = url.rstrip("/")
        self._transport = transport

    def get(self, path: str, **query: str) -> bytes:
        return self.fetch(f"{self.base}/{path}?{urlencode(query)}" if query else f"{self.base}/{path}")

    def fetch(self, url: str) -> bytes:
        return self._send("GET", url, _FORM, None)

    def post(self, path: str, form: Mapping[str, str], identity: PartitionIdentity | None = None) -> bytes:
        headers = _FORM | (identity.headers if identity else {})
        return self._send("POST", f"{self.base}/{path}", headers, urlencode(form).encode())

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        reply = self._transport.send(method, url, headers, body, TIMEOUT_SECONDS)
        if not 200 <= reply.status < 300:
            raise _error(reply, url.split("?")[0])
        return reply.body


def parse_answer(body: bytes) -> Any:
    """Parse a marshalled value; raises Unreachable for anything else."""
    try:
        return marshal.loads(body)
    except InvalidInput as error:
        raise Unreachable("The master's answer cannot be understood.", error.details, _CHECK) from error


def marshal_value(value: object) -> str:
    """Marshal a value for a field of a form."""
    return marshal.dumps(value).decode()


def unreadable_answer(what: str) -> Unreachable:
    return Unreachable("The master's answer cannot be understood.", what, _CHECK)


_CHECK = "Check that the URL is that of a SlapOS master."

_KINDS: dict[int, type[SlapError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    408: NotReady,
}
_BRIEFS = {
    401: "The master does not know who asks.",
    403: "The master does not allow that.",
    404: "The master has no such thing.",
    408: "The master has accepted it, but nothing of it is there yet.",
}


def _error(reply: Reply, url: str) -> SlapError:
    kind = _KINDS.get(reply.status, Unreachable)
    brief = _BRIEFS.get(reply.status, f"The master answered {reply.status}.")
    return kind(brief, f"{url}: {reason(reply.body)}")


def reason(body: bytes) -> str:
    """Extract the error message from a response, which may be a web server's HTML page."""
    page = body[: 1 << 16].decode(errors="replace")
    found = _PARAGRAPH.search(page)
    words = html.unescape(_TAG.sub(" ", found[1] if found else page))
    return " ".join(words.split())[:_MAX_REASON_CHARACTERS] or "no reason was given"
