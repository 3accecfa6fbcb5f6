"""A client of the classic protocol, as small as can be: it knows nothing of ours."""

from dataclasses import dataclass, field
from typing import Any, TypedDict
from urllib.parse import urlencode

from slap.model.slapos.object import SlapObject
from slap.system.marshal import dumps, loads
from slap.system.transport import HttpTransport, Reply

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def marshalled(value: object) -> str:
    return dumps(value).decode()


@dataclass
class Classic:
    """Speaks the protocol with a token."""

    address: str
    token: str
    transport: HttpTransport = field(default_factory=HttpTransport)

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        credentials = {"Authorization": self.token} if self.token else {}
        return self.transport.send(method, f"{self.address}/{path}", {**headers, **credentials}, body, 30)

    def post(self, path: str, **form: str) -> Reply:
        return self.send("POST", path, urlencode(form).encode(), FORM)

    def get(self, path: str, **query: str) -> Reply:
        return self.send("GET", f"{path}?{urlencode(query)}", None, {})

    def told(self, path: str, **query: str) -> Any:
        reply = self.get(path, **query)
        assert reply.status == 200, reply
        return loads(reply.body)

    def does(self, path: str, **form: str) -> None:
        reply = self.post(path, **form)
        assert reply.status == 200, reply

    def format(self, guid: str, partitions: int) -> Reply:
        told = [
            {
                "reference": f"slappart{number}",
                "address_list": [
                    {"addr": f"10.0.{1 + number // 250}.{1 + number % 250}", "netmask": "255.255.255.255"}
                ],
                "tap": {"name": f"slaptap{number}"},
            }
            for number in range(partitions)
        ]
        document = {"reference": guid, "address": "10.0.0.1", "netmask": "255.0.0.0", "partition_list": told}
        return self.post("loadComputerConfigurationFromXML", xml=marshalled(document))

    def ask(self, reference: str, url: str, parameters: dict[str, Any] | None = None, **more: Any) -> Reply:
        """Order an instance; what is given beside is marshalled where clients do so."""
        form = {
            "partition_reference": reference,
            "software_release": url,
            "software_type": more.pop("software_type", "default"),
            "partition_parameter_xml": marshalled(parameters or {}),
            "filter_xml": marshalled(more.pop("filters", {})),
            "state": marshalled(more.pop("state", None)),
            "shared_xml": marshalled(more.pop("shared", False)),
        }
        return self.post("requestComputerPartition", **form, **more)

    def order(self, reference: str, url: str, parameters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The attributes of the answer."""
        reply = self.ask(reference, url, parameters, **more)
        assert reply.status == 200, reply
        return attributes(loads(reply.body), "SoftwareInstance")

    def computer(self, guid: str) -> dict[str, Any]:
        return attributes(self.told("getFullComputerInformation", computer_id=guid), "Computer")

    def partitions(self, guid: str) -> list[dict[str, Any]]:
        return [attributes(each, "ComputerPartition") for each in self.computer(guid)["_computer_partition_list"]]

    def partition(self, guid: str, name: str) -> dict[str, Any]:
        found = self.told("registerComputerPartition", computer_reference=guid, computer_partition_reference=name)
        return attributes(found, "ComputerPartition")


def attributes(found: object, class_name: str) -> dict[str, Any]:
    assert isinstance(found, SlapObject)
    assert found.class_name == class_name
    return dict(found.attributes)


class Where(TypedDict):
    """How a form says which partition it is about."""

    computer_id: str
    computer_partition_id: str


def place(guid: str, name: str) -> Where:
    return Where(computer_id=guid, computer_partition_id=name)
