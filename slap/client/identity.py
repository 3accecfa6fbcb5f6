"""The identity of a calling partition, for protocols that send it beside the credentials."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PartitionIdentity:
    """A partition that calls the master; `name` is that of its instance, empty for the root of a tree."""

    computer: str
    partition: str
    name: str = ""

    @property
    def headers(self) -> dict[str, str]:
        who = f"computer_id={self.computer}, computer_partition_id={self.partition}"
        return {"Authorization": f"X-SlapPartition {who}"}

    @property
    def form(self) -> dict[str, str]:
        return {"computer_id": self.computer, "computer_partition_id": self.partition}

    def qualified(self, reference: str) -> str:
        """Return the name of a request, unique where all instances of a tree share one namespace.

        A child named `db` of a child named `web` is not the root's `db`.
        """
        return f"{self.name}.{reference}" if self.name else reference
