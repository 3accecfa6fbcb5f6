# ruff: noqa: N802 (methods are called as in SlapOS, whose scripts they serve)
"""An instance as scripts for SlapOS know it: the computer partition that a request answers with."""

import json
from dataclasses import dataclass
from typing import Any

from slap.cli.order.follow import Follower, Silent
from slap.cli.order.wait import Order, access_status
from slap.client.master import Master
from slap.model.errors import NotFound, NotReady
from slap.model.instance import Instance
from slap.model.software import Supply
from slap.system.clock import Clock, SystemClock


class Values(dict[str, Any]):
    """Parameters by name; as `_`, also all together as JSON, which is how SlapOS gives out those of many releases."""

    def __missing__(self, key: str) -> str:
        if key != "_":
            raise KeyError(key)
        return json.dumps(dict(self))

    def named(self, key: str) -> Any:
        """The value of that name; raises NotFound."""
        try:
            return self[key]
        except KeyError:
            raise NotFound(f"There is no parameter {key}.", f"There are: {', '.join(self) or 'none'}.") from None


@dataclass(frozen=True)
class SoftwareRelease:
    """A release that a computer has, or shall have."""

    url: str
    computer: str
    state: str = "available"

    @classmethod
    def of(cls, supply: Supply) -> "SoftwareRelease":
        return cls(supply.url, supply.computer, supply.requested.value)

    def getURI(self) -> str:
        return self.url

    def getComputerId(self) -> str:
        return self.computer

    def getState(self) -> str:
        return self.state


class ComputerPartition:
    """An instance and the partition that it is in, as they were when the master last told; `refresh` asks again."""

    def __init__(self, master: Master, instance: Instance, clock: Clock | None = None) -> None:
        self.instance = instance
        self._master = master
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        place = f"{self.instance.computer}/{self.instance.partition}"
        return f"<{self.instance.reference}: {self.instance.status} on {place}>"

    def refresh(self) -> "ComputerPartition":
        self.instance = self._master.instance(self.instance.guid)
        return self

    def wait(self, timeout: float = 900) -> "ComputerPartition":
        """Wait until the whole tree is as requested; raises with the reason when it fails."""
        order = Order(self.instance, changed=True)
        self.instance = Follower(self._master, self._clock, Silent(), timeout).follow(order).root
        return self

    def getId(self) -> str:
        if not self.instance.partition:
            raise NotReady(f"{self.instance.reference} has no partition yet.")
        return self.instance.partition

    def getInstanceGuid(self) -> str:
        return self.instance.guid

    def getState(self) -> str:
        """What is requested. What is so is told by getStatus."""
        return self.instance.requested.value

    def getStatus(self) -> str:
        """What is so: waiting, starting, started, stopped, error, ..."""
        return self.instance.status.value

    def getAccessStatus(self) -> str:
        """The same in SlapOS's words: `#access` or `#error`, and what there is to say."""
        return access_status(self.instance)

    def getType(self) -> str:
        return self.instance.software_type

    def getSoftwareRelease(self) -> SoftwareRelease:
        return SoftwareRelease(self.instance.software_release, self.instance.computer)

    def getConnectionParameterDict(self) -> Values:
        return Values(self.instance.connection)

    def getConnectionParameter(self, key: str) -> Any:
        return self.getConnectionParameterDict().named(key)

    def getInstanceParameterDict(self) -> Values:
        return Values(self.instance.parameters)

    def getInstanceParameter(self, key: str) -> Any:
        return self.getInstanceParameterDict().named(key)

    def bang(self, message: str = "") -> None:
        self._master.bang_instance(self.instance.guid, message)
