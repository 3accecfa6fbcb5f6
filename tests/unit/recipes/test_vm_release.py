"""What the profiles of software/kvm make of an order."""

import configparser
import json
from pathlib import Path
from typing import Any

import pytest

from slap.model.vm.machine import PORT_OFFSET
from slap.model.vm.parameters import Place, machine_of, read_parameters
from slap.recipes.template import render

KVM = Path(__file__).parents[3] / "software/kvm"
PLACE = Place("slappart3", "INST-7", "it", "127.77.0.5", "tap3")


def children(**parameter: Any) -> dict[str, dict[str, Any]]:
    """The orders of a cluster's machines, by their names."""
    said = {"count": 0, "machine": {}, "machines": {}, "apart": False} | parameter
    path = KVM / "machines.cfg.jinja2"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(render("machines", str(path), path.read_text(), {"parameter": said}))
    sections = [parser[name] for name in parser.sections() if name.startswith("machine-")]
    return {each["name"]: json.loads(each["parameters"]) for each in sections}


@pytest.mark.parametrize(
    ("own", "hostname"), [({}, "db"), ({"name": "theirs"}, "theirs"), ({"hostname": "ours"}, "ours")]
)
def test_a_machine_of_a_cluster_has_its_name_unless_another_one_is_ordered(own: dict[str, str], hostname: str) -> None:
    ordered = children(machine={"image": "a"}, machines={"db": own})["db"]
    assert machine_of(read_parameters(ordered), PLACE).seed.hostname == hostname
    everywhere = children(count=1, machine={"image": "a", **own})["vm-1"]
    assert machine_of(read_parameters(everywhere), PLACE).seed.hostname == (hostname if own else "vm-1")


def test_what_a_machine_has_of_its_own_wins() -> None:
    ordered = children(count=2, machine={"image": "a", "ram": 512}, machines={"vm-2": {"ram": 1024}})
    assert {name: each["ram"] for name, each in ordered.items()} == {"vm-1": 512, "vm-2": 1024}


def test_the_screens_port_is_none_that_a_rule_may_need() -> None:
    """Those of the guest are at the same address, from PORT_OFFSET on."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    text = (KVM / "instance-console.cfg.jinja2").read_text()
    parser.read_string("[console-port]" + text.partition("[console-port]")[2].partition("\n[")[0])
    section = parser["console-port"]
    assert 1024 <= int(section["minimum"]) < int(section["maximum"]) < PORT_OFFSET
