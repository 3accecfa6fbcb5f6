"""Client of the native JSON API, /api/v1."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, TypeAdapter, ValidationError

from slap.client.master import Master
from slap.model.base import Frozen
from slap.model.computer import Computer, ComputerConfiguration, ComputerRegistration, RegisteredComputer
from slap.model.errors import ErrorDocument, SlapError, Unreachable, from_document
from slap.model.instance import Answer, HistoryEntry, Instance, InstanceRequest, InstanceTree, Plan, Renaming
from slap.model.node import DesiredState, NodeReport, parse_desired_state
from slap.model.software import SoftwareRelease, Supply, SupplyRequest
from slap.model.usage import UsageReport, UsageSeries
from slap.model.values import first_reason
from slap.system.transport import HttpTransport, Reply, Transport

Document = TypeVar("Document", bound=BaseModel)
Result = TypeVar("Result")

# A master that is alive answers within this; a long poll may take as much longer as it was asked to wait.
TIMEOUT_SECONDS = 30.0


# What servers answer that know nothing of /api/v1, or that know nobody who has no certificate of theirs.
_UNROUTED = (401, 404, 405)


class NotNativeMaster(Unreachable):
    """The server answers, but does not have the native API."""


class FailedWithoutReason(Unreachable):
    """A server answered 500 and no document: it may have failed on what it was sent."""


class NativeMaster(Master):
    """A master at `url` (without /api/v1), spoken to with `token`. Use one per thread."""

    def __init__(self, url: str, token: str, transport: Transport | None = None) -> None:
        self._base = url.rstrip("/") + "/api/v1"
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._transport = transport or HttpTransport()

    def register_computer(self, registration: ComputerRegistration) -> RegisteredComputer:
        return self._ask(RegisteredComputer, "POST", "/computers", registration)

    def computers(self) -> list[Computer]:
        return self._list(Computer, "/computers")

    def computer(self, guid: str) -> Computer:
        return self._ask(Computer, "GET", f"/computers/{_part(guid)}")

    def configure_computer(self, guid: str, configuration: ComputerConfiguration) -> Computer:
        return self._ask(Computer, "PUT", f"/computers/{_part(guid)}/configuration", configuration)

    def new_computer_token(self, guid: str) -> RegisteredComputer:
        return self._ask(RegisteredComputer, "POST", f"/computers/{_part(guid)}/token")

    def bang_computer(self, guid: str, message: str) -> None:
        self._send("POST", f"/computers/{_part(guid)}/bang", _json({"message": message}))

    def desired_state(self, guid: str, since: int = 0, wait: float = 0, incarnation: str | None = None) -> DesiredState:
        query = _query(since, wait, incarnation)
        reply = self._send("GET", f"/computers/{_part(guid)}/state?{query}", wait=wait)
        return _parsed(reply, parse_desired_state)

    def report(self, guid: str, report: NodeReport) -> None:
        self._send("POST", f"/computers/{_part(guid)}/reports", report.model_dump_json().encode())

    def report_usage(self, guid: str, report: UsageReport) -> None:
        self._send("POST", f"/computers/{_part(guid)}/usage", report.model_dump_json(exclude_defaults=True).encode())

    def report_journal(self, guid: str, journal: bytes) -> None:
        self._send("POST", f"/computers/{_part(guid)}/journal", _json({"text": journal.decode()}))

    def computer_usage(self, guid: str) -> list[UsageSeries]:
        return self._list(UsageSeries, f"/computers/{_part(guid)}/usage")

    def usage(self, guid: str) -> UsageSeries:
        return self._ask(UsageSeries, "GET", f"/instances/{_part(guid)}/usage")

    def supply(self, request: SupplyRequest) -> Supply:
        return self._ask(Supply, "PUT", "/supplies", request)

    def supplies(self, computer: str = "", url: str = "") -> list[Supply]:
        return self._list(Supply, "/supplies", computer=computer, url=url)

    def releases(self) -> list[SoftwareRelease]:
        return self._list(SoftwareRelease, "/releases")

    def request(self, request: InstanceRequest) -> Instance:
        return self._ask(Instance, "POST", "/instances", request)

    def plan(self, request: InstanceRequest) -> Plan:
        return self._ask(Plan, "POST", "/plans", request)

    def instances(self, reference: str = "") -> list[Instance]:
        return self._list(Instance, "/instances", reference=reference)

    def instance(self, guid: str) -> Instance:
        return self._ask(Instance, "GET", f"/instances/{_part(guid)}")

    def answer(self, child: str, wait: float) -> Answer:
        return self._ask(Answer, "GET", f"/instances/{_part(child)}/answer?{urlencode({'wait': wait})}", wait=wait)

    def tree(self, root: str, since: int = 0, wait: float = 0, incarnation: str | None = None) -> InstanceTree:
        query = _query(since, wait, incarnation)
        return self._ask(InstanceTree, "GET", f"/instances/{_part(root)}/tree?{query}", wait=wait)

    def history(self, guid: str) -> list[HistoryEntry]:
        return self._list(HistoryEntry, f"/instances/{_part(guid)}/history")

    def bang_instance(self, guid: str, message: str) -> None:
        self._send("POST", f"/instances/{_part(guid)}/bang", _json({"message": message}))

    def rename_instance(self, guid: str, name: str) -> Instance:
        return self._ask(Instance, "PUT", f"/instances/{_part(guid)}/name", Renaming(name=name))

    def logs(self, guid: str, lines: int = 100) -> str:
        reply = self._send("GET", f"/instances/{_part(guid)}/logs?{urlencode({'lines': lines})}", wait=TIMEOUT_SECONDS)
        return str(TypeAdapter(dict[str, str]).validate_json(reply.body)["text"])

    def _ask(
        self, kind: type[Document], method: str, path: str, body: Frozen | None = None, wait: float = 0
    ) -> Document:
        reply = self._send(method, path, body.model_dump_json().encode() if body else None, wait)
        return _parsed(reply, kind.model_validate_json)

    def _list(self, kind: type[Document], path: str, **filters: str) -> list[Document]:
        query = urlencode({name: value for name, value in filters.items() if value})
        reply = self._send("GET", f"{path}?{query}" if query else path)
        return _parsed(reply, TypeAdapter(list[kind]).validate_json)  # type: ignore[valid-type]

    def _send(self, method: str, path: str, body: bytes | None = None, wait: float = 0) -> Reply:
        reply = self._transport.send(method, self._base + path, self._headers, body, TIMEOUT_SECONDS + wait)
        if reply.status >= 400:
            raise failure(reply)
        return reply


def _parsed(reply: Reply, parse: Callable[[bytes], Result]) -> Result:
    try:
        return parse(reply.body)
    except ValueError as error:
        reason = first_reason(error) if isinstance(error, ValidationError) else str(error)
        raise SlapError(
            "The master's answer is not understood.", reason, "Check that it is of the same version."
        ) from error


def failure(reply: Reply) -> SlapError:
    """The error that the master sent, or what can be said of an answer that no master of ours sends."""
    try:
        return from_document(ErrorDocument.model_validate_json(reply.body))
    except ValidationError:
        details = reply.body[:500].decode(errors="replace")
        return _kind_of(reply)(f"The master answered {reply.status} without a reason.", details)


def _kind_of(reply: Reply) -> type[Unreachable]:
    if reply.status in _UNROUTED and not reply.body.lstrip().startswith(b"{"):
        return NotNativeMaster
    return FailedWithoutReason if reply.status == HTTPStatus.INTERNAL_SERVER_ERROR else Unreachable


def _query(since: int, wait: float, incarnation: str | None) -> str:
    named = {} if incarnation is None else {"incarnation": incarnation}
    return urlencode({"since": since, "wait": wait, **named})


def _part(text: str) -> str:
    return quote(text, safe="")


def _json(value: dict[str, Any]) -> bytes:
    return TypeAdapter(dict[str, Any]).dump_json(value)
