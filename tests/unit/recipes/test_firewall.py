"""slap:firewall: what a partition closes is left for its node, and stays when a run fails."""

import pytest

from slap.model.network.firewall import FIREWALL_FILE, Firewall
from slap.recipes.common.base import RecipeError
from tests.unit.recipes.instance import Partition


def run(partition: Partition, options: str) -> Firewall:
    partition.run(f"[buildout]\nparts = closed\n[closed]\nrecipe = slap:firewall\n{options}\n")
    return Firewall.model_validate_json(partition.text(FIREWALL_FILE))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", Firewall()),
        ("master = false\ninternet = no\nallow = 192.0.2.7 [2001:db8::/32]:443",
         Firewall(master=False, internet=False, allow=("192.0.2.7", "[2001:db8::/32]:443"))),
        ("visitors = 2001:db8::/32 192.0.2.1\nvisitors.10022 = 2001:db8::5",
         Firewall(visitors={"*": ("2001:db8::/32", "192.0.2.1"), "10022": ("2001:db8::5",)})),
        ("visitors =\nvisitors.80 =", Firewall()),
    ],
)  # fmt: skip
def test_what_is_closed_is_left_for_the_node(partition: Partition, options: str, expected: Firewall) -> None:
    assert run(partition, options) == expected


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("master = maybe", "master is 'maybe'"),
        ("allow = example.com", "allow is 'example.com'"),
        ("visitors = fe80::1%x", "visitors is"),
        ("visitors.0 = ::/0", "visitors.0 is '0'"),
        ("visitors.http = ::/0", "visitors.http is 'http'"),
    ],
)
def test_what_makes_no_sense_is_told(partition: Partition, options: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        run(partition, options)


def test_a_run_that_fails_or_a_part_that_goes_opens_nothing(partition: Partition) -> None:
    run(partition, "internet = false")
    with pytest.raises(RecipeError):
        run(partition, "internet = true\nallow = nonsense")
    partition.run("[buildout]\nparts =\n")
    assert not Firewall.model_validate_json(partition.text(FIREWALL_FILE)).internet
