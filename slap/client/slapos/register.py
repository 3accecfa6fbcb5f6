"""Convert computers and their partitions to and from the slap tool protocol."""

import ipaddress
from collections.abc import Iterator

from slap.client.slapos.documents import ComputerDescription, PartitionDescription
from slap.model.computer import Computer, ComputerConfiguration, Partition, PartitionUse


def format_document(guid: str, configuration: ComputerConfiguration) -> dict[str, object]:
    """What loadComputerConfigurationFromXML takes. A partition that is not in it is taken away from the master."""
    return {
        "reference": guid,
        "address": "",
        "netmask": "",
        "partition_list": [
            {
                "reference": partition.name,
                "address_list": list(_addresses(partition)),
                "tap": {"name": partition.tap},
            }
            for partition in configuration.partitions
        ],
    }


def describe_computer(said: ComputerDescription) -> Computer:
    """Convert a parsed description to a Computer; only occupied partitions have addresses."""
    uses = tuple(_use(each) for each in said.partitions)
    return Computer(
        guid=said.guid,
        title=said.guid,
        configuration=ComputerConfiguration(partitions=tuple(each.partition for each in uses)),
        free_partitions=sum(each.is_free for each in said.partitions),
        partitions=uses,
    )


def _addresses(partition: Partition) -> Iterator[dict[str, str]]:
    """Each address belongs to its partition alone."""
    for address in (*partition.ipv4, *partition.ipv6):
        yield {"addr": address, "netmask": str(ipaddress.ip_network(address).netmask)}


def _use(said: PartitionDescription) -> PartitionUse:
    partition = Partition(
        name=said.name,
        ipv4=tuple(each for each in said.addresses if ":" not in each),
        ipv6=tuple(each for each in said.addresses if ":" in each),
    )
    return PartitionUse(partition=partition, instance=said.guid, reference=said.title)
