"""What goes into the classic protocol and what comes out: form fields, marshalled values, failures as words."""

import binascii
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import quote_plus

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from slap.model.errors import CannotBePlaced, InvalidInput, NotFound, NotReady, SlapError
from slap.model.values import storable, unstorable_reason
from slap.system.marshal import XML, SlapObject, dumps, loads

_MOST_FIELDS = 100
_LARGE = 64 * 1024  # characters
_NOT_QUOTED = re.compile(b"%(?![0-9A-Fa-f]{2})")
_LARGEST_INT = 2**63 - 1
_LARGEST_VALUE = 16 << 20  # bytes of one marshalled value: the formatting of 20,000 partitions is less
_TEXT = "text/plain; charset=utf-8"

# What SlapOS's client makes exceptions of its own of; the rest it calls errors of the server, or of HTTP.
_STATUS: dict[type[SlapError], int] = {NotFound: 404, CannotBePlaced: 404, NotReady: 408}
_CLIENT = "slapos.core/"
_ORDER = "requestComputerPartition"
_LONGEST_REASON = 1500


@dataclass(frozen=True)
class Fields:
    """The fields of a form, or of a query."""

    values: Mapping[str, str]
    where: str

    @property
    def is_large(self) -> bool:
        """Whether reading its values takes long enough to keep others waiting."""
        return sum(map(len, self.values.values())) > _LARGE

    def __getitem__(self, name: str) -> str:
        """A field that must be there; raises InvalidInput."""
        found = self.get(name)
        if not found:
            raise InvalidInput(f"{self.where} was not given what it takes.", f"{name} is missing.", f"Give {name}.")
        return found

    def get(self, name: str) -> str:
        """A field that may be there. SlapOS's client writes `None` for nothing. Raises InvalidInput."""
        found = self.values.get(name, "")
        if reason := unstorable_reason(found, _LARGEST_VALUE):
            raise InvalidInput(f"{self.where} was not given what it takes.", f"{name}: {reason}.", f"Correct {name}.")
        return "" if found == "None" else found

    def printed(self, name: str) -> str:
        """What a program printed: whatever cannot be stored in it is replaced."""
        return replace(self, values={name: storable(self.values.get(name, ""))}).get(name)

    def value(self, name: str, default: object = None) -> Any:
        """A marshalled value."""
        words = self.get(name)
        return loads(words, _LARGEST_VALUE) if words else default

    def table(self, name: str) -> dict[str, Any]:
        """A marshalled dictionary with strings as keys; empty when it is not there."""
        found = _plain(self.value(name, {}), name)
        if isinstance(found, dict):
            return found
        raise InvalidInput(f"{name} is not a dictionary.")


def _plain(value: Any, name: str) -> Any:
    """A value as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(each, name) for each in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InvalidInput(f"{name} has a dictionary with a key that is not a string.")
        return {key: _plain(each, name) for key, each in value.items()}
    if isinstance(value, SlapObject) or (isinstance(value, int) and not -_LARGEST_INT <= value <= _LARGEST_INT):
        raise InvalidInput(f"{name} has a value that is neither a string nor a number of up to 64 bits.")
    return value


async def _query(request: Request) -> Fields:
    return Fields(dict(request.query_params), request.url.path.strip("/"))


async def _form(request: Request) -> Fields:
    """The body of a POST: never more than one of these in memory, and its size was limited by the application."""
    where = request.url.path.strip("/")
    try:
        return Fields(_decoded(await request.body()), where)
    except ValueError as error:
        raise InvalidInput(f"{where} was not given a form.", str(error)) from error


def _decoded(form: bytes) -> dict[str, str]:
    """The fields of a form. urllib would make a list of all bytes that are written as %XX: GiB of a journal."""
    pairs = form.split(b"&", _MOST_FIELDS)
    if len(pairs) > _MOST_FIELDS:
        raise ValueError(f"It has more than {_MOST_FIELDS} fields.")
    fields = (pair.partition(b"=") for pair in pairs if pair)
    return {_unquoted(name): _unquoted(value) for name, _, value in fields}


def _unquoted(quoted: bytes) -> str:
    """What URL encoding stands for, by way of quoted-printable, which is the same with another sign."""
    if _NOT_QUOTED.search(quoted):
        raise ValueError("A % is not followed by two hexadecimal digits.")
    plain = quoted.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"=")
    return binascii.a2b_qp(plain).decode(errors="replace")


Query = Annotated[Fields, Depends(_query)]
Form = Annotated[Fields, Depends(_form)]


def text(words: str, status: int = 200) -> Response:
    return Response(words, status, media_type=_TEXT)


def marshalled(value: object) -> Response:
    return Response(dumps(value), media_type=XML)


class TextRoute(APIRoute):
    """A route whose failures are told in words, as SlapOS's clients take them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except SlapError as error:
                return refusal(request, error)
            except (ValidationError, RequestValidationError) as error:
                lines = [f"{each['loc'][-1] if each['loc'] else ''}: {each['msg']}" for each in error.errors()]
                return refusal(request, InvalidInput(f"{request.url.path} cannot be done.", "\n".join(lines)))

        return told


def refusal(request: Request, error: SlapError) -> Response:
    """The words of an error, with the status that clients expect.

    SlapOS's own client shows the URL of what failed and nothing else, so for it the words go where it shows them: it is
    sent on to a URL that has them in it. It says by itself what is not found and what is not ready.
    """
    status = _STATUS.get(type(error), error.http_status)
    has_words = status == 408 or (status == 404 and not request.url.path.endswith(_ORDER))
    if request.method != "POST" or has_words or not request.headers.get("user-agent", "").startswith(_CLIENT):
        return text(str(error), status)
    reason = quote_plus(" ".join(str(error).split())[:_LONGEST_REASON], safe="(),:;/'")
    return Response(str(error), 303, {"location": f"?refused={reason}"}, _TEXT)


async def told_again(asked: Query) -> Response:
    """Where a refused client was sent on to."""
    words = asked.get("refused")
    return text(words, 503) if words else text(f"{asked.where} takes a form by POST.", 405)
