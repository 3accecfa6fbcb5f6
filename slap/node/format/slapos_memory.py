"""Partitions that SlapOS's node made, with their addresses, from its file `computer_xml`.

Services are known by these addresses, and they are not always what counting gives: SlapOS draws IPv6 ones by chance.
"""

from itertools import count
from pathlib import Path

from pydantic import ValidationError

from slap.model.computer import Partition
from slap.model.errors import InvalidInput
from slap.model.slapos.format import partition_list, partition_of
from slap.node.core.accounts import check_name
from slap.node.core.config import FormatConfig
from slap.node.format.interfaces import tap_name
from slap.node.format.plan import counted_partition
from slap.system.marshal import loads


def read_remembered(path: Path, config: FormatConfig) -> tuple[Partition, ...]:
    """The remembered partitions, completed by counted ones. Raises InvalidInput for an invalid file."""
    try:
        told = partition_list(loads(path.read_bytes()))[: config.partition_amount]
        known = [_partition(each, number, config) for number, each in enumerate(told)]
    except (OSError, ValueError, ValidationError, InvalidInput) as error:
        raise InvalidInput(f"{path} does not say what partitions SlapOS's node made.", str(error), _INSTEAD) from error
    return (*known, *_more(known, config))


_INSTEAD = (
    "Mend computer_xml in [slapformat], or take it out: partitions then get new addresses, by counting in "
    "ipv4_local_network."
)


def _partition(told: object, number: int, config: FormatConfig) -> Partition:
    partition = partition_of(told)
    check_name("reference", partition.name, f"{config.partition_base_name}{number}")
    user = told.get("user") if isinstance(told, dict) else None
    if config.alter_user and isinstance(user, dict):
        check_name("user", str(user.get("name")), f"{config.user_base_name}{number}")
    return partition


def _more(known: list[Partition], config: FormatConfig) -> list[Partition]:
    """Counted partitions, without addresses that are in use."""
    taken = {address for each in known for address in (*each.ipv4, *each.ipv6)}
    counted = (counted_partition(config, number) for number in count())
    free = (each for each in counted if taken.isdisjoint((*each.ipv4, *each.ipv6)))
    numbers = range(len(known), config.partition_amount)
    own = ({"name": f"{config.partition_base_name}{each}", "tap": tap_name(config, each)} for each in numbers)
    return [each.model_copy(update=update) for update, each in zip(own, free, strict=False)]
