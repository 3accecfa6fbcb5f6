"""What can be asked of a master. Every method raises the master's own error, or Unreachable."""

from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, TypeAdapter, ValidationError

from slap.model.base import Frozen
from slap.model.computer import Computer, ComputerConfiguration, ComputerRegistration, RegisteredComputer
from slap.model.errors import ErrorDocument, SlapError, Unreachable, from_document
from slap.model.instance import Answer, HistoryEntry, Instance, InstanceRequest, InstanceTree, Plan
from slap.model.node import DesiredState, NodeReport
from slap.model.software import SoftwareRelease, Supply, SupplyRequest
from slap.system.transport import HttpTransport, Reply, Transport

Document = TypeVar("Document", bound=BaseModel)

# A master that is alive answers within this; a long poll may take as much longer as it was asked to wait.
PATIENCE = 30.0


class Master:
    """A master at `url` (without /api/v1), spoken to with `token`. Use one per thread."""

    def __init__(self, url: str, token: str, transport: Transport | None = None) -> None:
        self._base = url.rstrip("/") + "/api/v1"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
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
        """A new token for a computer; the ones before it stop working."""
        return self._ask(RegisteredComputer, "POST", f"/computers/{_part(guid)}/token")

    def bang_computer(self, guid: str, message: str) -> None:
        self._send("POST", f"/computers/{_part(guid)}/bang", _json({"message": message}))

    def desired_state(self, guid: str, since: int = 0, wait: float = 0) -> DesiredState:
        """What changed after revision `since`; with nothing changed, answers after at most `wait` seconds."""
        query = urlencode({"since": since, "wait": wait})
        return self._ask(DesiredState, "GET", f"/computers/{_part(guid)}/state?{query}", wait=wait)

    def report(self, guid: str, report: NodeReport) -> None:
        self._send("POST", f"/computers/{_part(guid)}/reports", report.model_dump_json().encode())

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
        """The root instances of the caller, without the destroyed ones; or the one of that reference."""
        return self._list(Instance, "/instances", reference=reference)

    def instance(self, guid: str) -> Instance:
        return self._ask(Instance, "GET", f"/instances/{_part(guid)}")

    def answer(self, child: str, wait: float) -> Answer:
        """What a child of this partition published, as soon as it published, and after at most `wait` seconds."""
        return self._ask(Answer, "GET", f"/instances/{_part(child)}/answer?{urlencode({'wait': wait})}", wait=wait)

    def tree(self, root: str, since: int = 0, wait: float = 0) -> InstanceTree:
        """A whole tree, as soon as its revision is beyond `since`, and after at most `wait` seconds in any case."""
        query = urlencode({"since": since, "wait": wait})
        return self._ask(InstanceTree, "GET", f"/instances/{_part(root)}/tree?{query}", wait=wait)

    def history(self, guid: str) -> list[HistoryEntry]:
        return self._list(HistoryEntry, f"/instances/{_part(guid)}/history")

    def bang_instance(self, guid: str, message: str) -> None:
        """Reprocess all partitions of the tree of this instance."""
        self._send("POST", f"/instances/{_part(guid)}/bang", _json({"message": message}))

    def logs(self, guid: str, lines: int = 100) -> str:
        """The last lines of an instance's logs, brought by its node."""
        reply = self._send("GET", f"/instances/{_part(guid)}/logs?{urlencode({'lines': lines})}", wait=PATIENCE)
        return str(TypeAdapter(dict[str, str]).validate_json(reply.body)["text"])

    def _ask(
        self, kind: type[Document], method: str, path: str, body: Frozen | None = None, wait: float = 0
    ) -> Document:
        reply = self._send(method, path, body.model_dump_json().encode() if body else None, wait)
        return kind.model_validate_json(reply.body)

    def _list(self, kind: type[Document], path: str, **filters: str) -> list[Document]:
        query = urlencode({name: value for name, value in filters.items() if value})
        reply = self._send("GET", f"{path}?{query}" if query else path)
        return TypeAdapter(list[kind]).validate_json(reply.body)  # type: ignore[valid-type]

    def _send(self, method: str, path: str, body: bytes | None = None, wait: float = 0) -> Reply:
        reply = self._transport.send(method, self._base + path, self._headers, body, PATIENCE + wait)
        if reply.status >= 400:
            raise _error(reply)
        return reply


def _error(reply: Reply) -> SlapError:
    """The error that the master sent, or what can be said of an answer that no master of ours sends."""
    try:
        return from_document(ErrorDocument.model_validate_json(reply.body))
    except ValidationError:
        return Unreachable(
            f"The master answered {reply.status} without a reason.", reply.body[:500].decode(errors="replace")
        )


def _part(text: str) -> str:
    return quote(text, safe="")


def _json(value: dict[str, Any]) -> bytes:
    return TypeAdapter(dict[str, Any]).dump_json(value)
