"""What the steps of a partition call: managers and limits."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from slap.model.errors import InvalidInput
from slap.model.node import DesiredInstance
from slap.node.core.logs import log_refusal
from slap.node.partition.folder import PartitionFolder
from slap.system.host.launch import UNLIMITED, LaunchLimits


@dataclass(frozen=True)
class RemovalStatus:
    """What emptying a partition waits for, or what failed meanwhile."""

    waits_for: str = ""
    complaints: str = ""


class Manager:
    """Hooks in the life of a partition, all of which may be called again after a crash; by default each does nothing."""

    request_file = ""  # the file by which a partition asks for something, if there is one

    def prepared(self, folder: PartitionFolder) -> None:
        """The partition is about to be instantiated: code of its release runs as its user."""

    def configured(self, folder: PartitionFolder) -> None:
        """The partition was instantiated and is about to be started, or is looked at again."""

    def stopped(self, folder: PartitionFolder) -> None:
        """Its processes are about to be ended."""

    def leaving(self, folder: PartitionFolder) -> RemovalStatus:
        """Its services ended for good; asked again until there is nothing to wait for."""
        return RemovalStatus()

    def is_leaving(self, folder: PartitionFolder) -> bool:
        """Whether `leaving` has begun something that goes on."""
        return False

    def emptied(self, folder: PartitionFolder) -> None:
        """Nothing is left in it."""

    def guards(self) -> bool:
        """Whether it keeps partitions from what a firewall has to keep them from."""
        return False


@contextmanager
def _audited(manager: Manager, folder: PartitionFolder) -> Iterator[None]:
    """Log a refused request of a partition. Raises InvalidInput, also for JSON that is nested too deeply."""
    try:
        yield
    except InvalidInput as error:
        log_refusal(folder.name, manager.request_file, error)
        raise
    except RecursionError as error:
        log_refusal(folder.name, manager.request_file, error)
        raise InvalidInput(f"{folder.name}: {manager.request_file} is nested too deeply.") from error


class Managers:
    """All managers of a node, as one."""

    def __init__(self, managers: Iterable[Manager] = ()) -> None:
        self._managers = tuple(managers)

    def prepared(self, folder: PartitionFolder) -> None:
        for manager in self._managers:
            with _audited(manager, folder):
                manager.prepared(folder)

    def configured(self, folder: PartitionFolder) -> None:
        for manager in self._managers:
            with _audited(manager, folder):
                manager.configured(folder)

    def stopped(self, folder: PartitionFolder) -> None:
        for manager in self._managers:
            manager.stopped(folder)

    def leaving(self, folder: PartitionFolder) -> RemovalStatus:
        each = [manager.leaving(folder) for manager in self._managers]
        return RemovalStatus(
            ", ".join(one.waits_for for one in each if one.waits_for),
            "\n".join(one.complaints for one in each if one.complaints),
        )

    def is_leaving(self, folder: PartitionFolder) -> bool:
        return any(manager.is_leaving(folder) for manager in self._managers)

    def emptied(self, folder: PartitionFolder) -> None:
        for manager in self._managers:
            manager.emptied(folder)

    def guard(self) -> bool:
        """Whether the partition firewall is in force."""
        return any(manager.guards() for manager in self._managers)

    def watch(self, folder: PartitionFolder) -> bool:
        """Whether the partition has a request file, which may change without an instantiation."""
        return any(
            os.path.lexists(folder.path / manager.request_file) for manager in self._managers if manager.request_file
        )


class PartitionLimits:
    """What the steps of a partition ask of limits; by default nothing is limited."""

    def apply(self, folder: PartitionFolder, desired: DesiredInstance) -> LaunchLimits:
        """Have the limits of an instance hold for all that runs, or will run, in its partition."""
        return UNLIMITED

    def forget(self, folder: PartitionFolder) -> None:
        """The partition is empty."""

    def fullness(self, desired: DesiredInstance) -> str:
        """How much more disk a partition takes than it may, as a sentence; empty when it does not."""
        return ""

    def trouble(self, partition: str) -> str:
        """What was ended in a partition lately because it took too much, as a sentence; empty if nothing was."""
        return ""
