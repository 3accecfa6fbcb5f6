"""What a machine may have of the network is given where it can be, and refused in words where it cannot."""

import json
from typing import Any

import pytest

from slap.recipes.common.base import RecipeError
from tests.unit.recipes.instance import Partition

PROFILE = "[buildout]\nparts = vm\n[vm]\nrecipe = slap:vm\nsocat = /bin/cat\n"


def ordered(partition: Partition, context: dict[str, Any], **parameters: Any) -> dict[str, str]:
    said = {"image": "tiny", "ram": "96 MiB"} | {name.replace("_", "-"): value for name, value in parameters.items()}
    partition.order(ipv4=("10.0.0.2",), ipv6=("2001:db8::2",), context=context, parameters=said)
    return dict(partition.run(PROFILE)["vm"])


def test_visitors_and_the_internet_are_given_where_partitions_have_a_firewall(partition: Partition) -> None:
    made = ordered(partition, {"firewall": True}, internet=True, visitors="2001:db8::/32, 192.0.2.7")
    assert made["visitors"] == "2001:db8::/32 192.0.2.7/32"
    assert '"internet": true' in partition.text("etc/vm.json")


def test_a_tap_is_the_partitions(partition: Partition) -> None:
    made = ordered(partition, {"tap": "slaptap7"}, use_tap=True)
    assert '"tap": "slaptap7"' in partition.text("etc/vm.json")
    assert made["forward-ports"] == ""
    assert json.loads(made["connection"]) == {"ssh-command": "", "hostname": "shop", "ports": {}}


@pytest.mark.parametrize(
    ("context", "parameters", "told"),
    [
        ({}, {"internet": True}, "cannot have the Internet on COMP-1"),
        ({}, {"visitors": ["::/0"]}, "cannot have visitors of its choice"),
        ({}, {"use_tap": True}, "slappart7 has none"),
        ({"firewall": True}, {"visitors": ["example.com"]}, "visitors"),
    ],
)
def test_what_the_computer_cannot_give_is_refused(
    partition: Partition, context: dict[str, Any], parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        ordered(partition, context, **parameters)
    assert not (partition.folder / "etc/vm.json").exists()
