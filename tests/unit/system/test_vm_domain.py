"""What libvirt is told of a machine."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from slap.system.libvirt.domain import DiskFile, Domain, Nat, Rule, domain_xml, named

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
NAT = Nat("52:54:00:00:00:01", (Rule("127.77.0.2", 10022, 22),))


def tree(**more: Any) -> ElementTree.Element:
    ordinary: dict[str, Any] = {
        "name": "slappart0", "uuid": "u", "title": "a <b> & 'c'", "memory": 96, "most_memory": 96, "cpus": 1, "most_cpus": 2,
        "nat": NAT, "disks": (DiskFile(Path("/d/root.qcow2")),), "environment": {"MARK": "1"},
    }  # fmt: skip
    return ElementTree.fromstring(domain_xml(Domain(**{**ordinary, **more})))


def words(domain: ElementTree.Element) -> list[str]:
    return [each.get("value", "") for each in domain.iter(f"{QEMU}arg")]


def test_values_are_values() -> None:
    assert tree().findtext("title") == "a <b> & 'c'"


def test_a_guest_is_shut_in_but_for_its_ports() -> None:
    assert words(tree())[1] == "user,id=nat,ipv6=off,restrict=on,hostfwd=tcp:127.77.0.2:10022-:22"
    assert "restrict=off" in words(tree(nat=Nat("52:54:00:00:00:01", restricted=False)))[1]


def test_a_tap_takes_the_place_of_nat() -> None:
    domain = tree(tap="tap3")
    interface = domain.find("devices/interface/target")
    assert interface is not None and interface.get("dev") == "tap3"
    assert not any("hostfwd" in word for word in words(domain))


def test_emulation_is_given_little_memory_and_kvm_the_processor() -> None:
    emulated, accelerated = tree(), tree(kvm=True)
    assert (emulated.get("type"), accelerated.get("type")) == ("qemu", "kvm")
    assert emulated.find("features/tcg/tb-cache") is not None and accelerated.find("features/tcg") is None
    cpu = accelerated.find("cpu")
    assert cpu is not None and cpu.get("mode") == "host-passthrough"


def test_memory_that_may_change_needs_a_balloon() -> None:
    for has, model in ((False, "none"), (True, "virtio")):
        balloon = tree(has_balloon=has).find("devices/memballoon")
        assert balloon is not None and balloon.get("model") == model


def test_disks_are_named_in_their_order_on_each_bus() -> None:
    disks = named(tuple(DiskFile(Path("/d"), bus=bus) for bus in ("virtio", "sata", "virtio", "ide")))
    assert [disk.target for disk in disks] == ["vda", "sda", "vdb", "sdb"]


def test_qemu_is_found_by_its_environment_and_ends_with_its_guest() -> None:
    domain = tree()
    assert [(each.get("name"), each.get("value")) for each in domain.iter(f"{QEMU}env")] == [("MARK", "1")]
    assert words(domain)[-2:] == ["-action", "shutdown=poweroff"]
