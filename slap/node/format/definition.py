"""Partitions defined by hand in SlapOS's file format, for addresses other than counted ones.

[partition_0]
pathname = slappart0
user = slapuser0
address = 10.0.0.2/255.255.255.255 2001:db8::2/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
network_interface = slaptap0
"""

import configparser
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from slap.model.computer import Partition
from slap.model.errors import InvalidInput
from slap.node.core.accounts import check_name
from slap.node.core.config import FormatConfig
from slap.node.format.plan import partitions_of
from slap.node.format.slapos_memory import read_remembered

_SECTION = "partition_"


def wanted_partitions(config: FormatConfig) -> tuple[Partition, ...]:
    """The partitions to make: defined, remembered by SlapOS's node, or counted."""
    written, remembered = (Path(each).expanduser() for each in (config.input_definition_file, config.computer_xml))
    if config.input_definition_file:
        return read_definition(written, config)
    if config.computer_xml and remembered.exists():
        return read_remembered(remembered, config)
    return partitions_of(config)


def read_definition(path: Path, config: FormatConfig) -> tuple[Partition, ...]:
    """The defined partitions, as many as configured; raises InvalidInput for missing or invalid ones."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(), str(path))
        return tuple(_partition(parser, number, config) for number in range(config.partition_amount))
    except (OSError, configparser.Error, UnicodeDecodeError, ValueError, ValidationError) as error:
        raise InvalidInput(f"{path} is no definition of this computer.", str(error), "Mend or replace it.") from error


def definition_text(partitions: Iterable[Partition], config: FormatConfig) -> str:
    """The text of a definition file for partitions."""
    lines: list[str] = ["[computer]", f"software_user = {config.software_user}"]
    for number, partition in enumerate(partitions):
        addresses = " ".join(ipaddress.ip_interface(each).with_netmask for each in (*partition.ipv4, *partition.ipv6))
        lines += [
            "",
            f"[{_SECTION}{number}]",
            f"pathname = {partition.name}",
            f"user = {config.user_base_name}{number}",
            f"address = {addresses}",
            f"network_interface = {partition.tap}",
        ]
    return "\n".join(lines) + "\n"


def _partition(parser: configparser.RawConfigParser, number: int, config: FormatConfig) -> Partition:
    section = parser[f"{_SECTION}{number}"] if parser.has_section(f"{_SECTION}{number}") else {}
    if not section:
        raise ValueError(f"[{_SECTION}{number}] is missing, and partition_amount is {config.partition_amount}")
    check_name("pathname", section.get("pathname", ""), f"{config.partition_base_name}{number}")
    if config.alter_user:
        check_name("user", section.get("user", ""), f"{config.user_base_name}{number}")
    found = [ipaddress.ip_address(text.partition("/")[0]) for text in section.get("address", "").split()]
    return Partition(
        name=section["pathname"],
        ipv4=tuple(str(each) for each in found if each.version == 4),
        ipv6=tuple(str(each) for each in found if each.version == 6),
        tap=section.get("network_interface", ""),
    )
