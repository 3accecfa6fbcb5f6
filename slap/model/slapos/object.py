"""The objects that SlapOS's classic protocol carries: a class of slapos.slap by its name, and what it has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODULE = "slapos.slap.slap"
# The classes that travel, and which of their attributes are repeated as arguments of their constructors.
CLASSES = {
    "Computer": ("_computer_id",),
    "ComputerPartition": ("_computer_id", "_partition_id", "_request_dict"),
    "SoftwareRelease": ("_software_release", "_computer_guid"),
    "SoftwareInstance": (),
}


@dataclass(frozen=True, slots=True)
class SlapObject:
    """An object of slapos.slap: Computer, ComputerPartition, SoftwareRelease or SoftwareInstance, and what it has."""

    class_name: str
    attributes: Mapping[str, Any]
