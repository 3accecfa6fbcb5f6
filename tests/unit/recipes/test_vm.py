"""slap:vm: the files of a machine's partition, and what cannot be had is told before anything is written."""

import json
import subprocess
from typing import Any

import pytest

from slap.model.check import MachineCheck, ServiceSettings
from slap.model.vm.machine import Machine
from slap.node.promise.machine import _LISTENS_LONGEST
from slap.recipes.common.base import RecipeError
from tests.unit.recipes.instance import Partition

PROFILE = "[buildout]\nparts = vm\n[vm]\nrecipe = slap:vm\nsocat = /bin/cat\n"


def ordered(
    partition: Partition, ipv4: tuple[str, ...], ipv6: tuple[str, ...] = (), **parameters: Any
) -> dict[str, str]:
    said = {"image": "tiny", "ram": "96 MiB"} | {name.replace("_", "-"): value for name, value in parameters.items()}
    partition.order(ipv4=ipv4, ipv6=ipv6, parameters=said)
    return dict(partition.run(PROFILE)["vm"])


def test_with_ipv6_its_ports_are_forwarded(partition: Partition) -> None:
    made = ordered(partition, ("10.0.0.5",), ("2001:db8::5",), nat_rules=[80])
    assert (made["address"], made["target"], made["forward-ports"]) == ("2001:db8::5", "10.0.0.5", "10022 10080")
    said = json.loads(made["connection"])
    assert said["ssh-command"] == "ssh -p 10022 root@2001:db8::5"
    assert said["ports"] == {"22": "[2001:db8::5]:10022", "80": "[2001:db8::5]:10080"}
    check = MachineCheck.model_validate_json(partition.text("etc/plugin/vm.json"))
    assert (check.host, check.port) == ("2001:db8::5", 10022)
    assert check.timeout >= _LISTENS_LONGEST
    assert json.loads(partition.text(".slapos-images")) == [{"name": "tiny"}]


def test_without_ipv6_qemu_listens_at_what_is_published(partition: Partition) -> None:
    made = ordered(partition, ("127.77.0.5",))
    assert (made["address"], made["forward-ports"]) == ("127.77.0.5", "")
    machine = Machine.model_validate_json(partition.text("etc/vm.json"))
    assert [each.port for each in machine.network.forwards] == [10022, 10080, 10443]


def test_at_a_tap_there_is_no_command_that_logs_in_and_that_is_said(partition: Partition) -> None:
    """Who waits for it, as a cluster does, need not wait for ever."""
    said = {"image": "tiny", "ram": "96 MiB", "use-tap": True}
    partition.order(ipv4=("127.77.0.5",), context={"tap": "tap7"}, parameters=said)
    connection = json.loads(partition.run(PROFILE)["vm"]["connection"])
    assert (connection["ssh-command"], connection["ports"]) == ("", {})


def test_a_change_leaves_the_service_and_runs_apply_anew(partition: Partition) -> None:
    ordered(partition, ("127.77.0.5",))
    files = ("etc/service/vm", "etc/service/.vm.json")
    service, apply = [*map(partition.text, files)], partition.text("etc/run/vm-apply")
    ordered(partition, ("127.77.0.5",), nat_rules=[8080], stop_timeout=3600)
    assert [*map(partition.text, files)] == service
    assert partition.text("etc/run/vm-apply") != apply
    assert Machine.model_validate_json(partition.text("etc/vm.json")).stop_timeout == 3600
    assert ServiceSettings.model_validate_json(partition.text(files[1])).stop_timeout > 3600


def test_to_a_machine_that_was_never_started_nothing_is_applied(partition: Partition) -> None:
    """It would cost a start of Python for each machine of an order."""
    ordered(partition, ("127.77.0.5",))
    apply = partition.folder / "etc/run/vm-apply"
    text = apply.read_text()
    apply.write_text(text[: text.index("exec ")] + "echo applied")
    said = [subprocess.run(["/bin/sh", apply], capture_output=True, text=True, check=True).stdout]
    (partition.folder / "var/vm").mkdir(parents=True)
    said.append(subprocess.run(["/bin/sh", apply], capture_output=True, text=True, check=True).stdout)
    assert said == ["", "applied\n"]


def test_a_guest_without_ssh_need_only_run(partition: Partition) -> None:
    ordered(partition, ("127.77.0.5",), wait_for_ssh=False)
    assert MachineCheck.model_validate_json(partition.text("etc/plugin/vm.json")).port == 0


@pytest.mark.parametrize(
    ("ipv4", "parameters", "told"),
    [
        ("127.77.0.5", {"ram": "900000 GiB"}, "cannot have 879 TiB of memory"),
        ("127.77.0.5", {"nat_rules": [60000]}, "nat-rules.0"),
        ("127.77.0.5", {"cpu": "many"}, "cpu"),
        ("10.0.0.5", {}, "no addresses for a machine"),
    ],
)
def test_what_cannot_be_had_is_told(partition: Partition, ipv4: str, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        ordered(partition, (ipv4,), **parameters)
    assert not (partition.folder / "etc/vm.json").exists()
