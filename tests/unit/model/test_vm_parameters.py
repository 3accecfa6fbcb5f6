"""What is ordered of a machine becomes its document; what cannot be is told with all that is wrong."""

from typing import Any

import pytest

from slap.model.errors import InvalidParameters
from slap.model.vm.image import ImageEntry
from slap.model.vm.machine import Disk, Forward, Machine
from slap.model.vm.parameters import Place, hostname_of, machine_of, read_parameters
from slap.model.vm.size import GIB, MIB, in_words, read_size

PLACE = Place("slappart3", "INST-7", "My shop", "127.77.0.5", "tap3")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxyz me@home"


def machine(**said: Any) -> Machine:
    return machine_of(read_parameters({name.replace("_", "-"): value for name, value in said.items()}), PLACE)


def test_the_order_of_the_manual() -> None:
    ordered = machine(image="debian-12", ram="1 GiB", cpu=2, nat_rules=[80, 443, 20000], ssh_keys=[KEY])
    assert (ordered.name, ordered.memory, ordered.cpus) == ("slappart3", 1024, 2)
    assert ordered.disks == (Disk(name="root", image=ImageEntry(name="debian-12")),)
    assert [each.guest for each in ordered.network.forwards] == [22, 80, 443, 20000]
    assert ordered.network.forwards[3] == Forward(guest=20000, address="127.77.0.5", port=30000)
    assert (ordered.network.internet, ordered.network.tap) == (False, "")
    assert (ordered.seed.hostname, ordered.seed.ssh_keys) == ("my-shop", (KEY,))


def test_names_of_slapos() -> None:
    theirs = machine(image="a", ram_size=512, cpu_count=2, authorized_keys=f"{KEY}\n", nat_rules="20 80", name="x")
    assert theirs == machine(image="a", ram="512 MiB", cpu=2, ssh_keys=[KEY], nat_rules=[20, 80], hostname="x")


MD5 = "d41d8cd98f00b204e9800998ecf8427e"
DISK = "https://images.example/disk.qcow2"


def test_images_of_slapos() -> None:
    theirs = {"virtual-hard-drive-url": DISK, "virtual-hard-drive-md5sum": MD5, "virtual-hard-drive-gzipped": "True"}
    ordered = machine_of(read_parameters({**theirs, "boot-image-url-list": f"{DISK}#{MD5}\n"}), PLACE)
    assert ordered.disks == (Disk(name="root", image=ImageEntry(url=DISK, md5=MD5, gzipped=True)),)
    assert ordered.boot_iso == ImageEntry(url=DISK, md5=MD5)


@pytest.mark.parametrize("blank", ["", "\n", " \n \n"])
def test_what_slapos_leaves_blank_is_not_said(blank: str) -> None:
    empty = {"virtual-hard-drive-url": "", "virtual-hard-drive-md5sum": "", "boot-image-url-list": blank}
    for no in (False, "false", "False", "no", "0", ""):
        said = {"image": "a", **empty, "virtual-hard-drive-gzipped": no}
        assert machine_of(read_parameters(said), PLACE) == machine(image="a")


def test_the_same_order_is_the_same_machine() -> None:
    assert machine(image="a") == machine(image="a")
    assert machine(image="a").network.mac.startswith("52:54:00:") and len(machine(image="a").network.mac) == 17


def test_disks_in_their_order() -> None:
    ordered = machine(image="a", disk_size=20, disks=[{"name": "data", "size": "1 GiB"}])
    assert [(disk.name, disk.size) for disk in ordered.disks] == [("root", 20 * GIB), ("data", GIB)]


def test_a_tap_takes_the_place_of_ports() -> None:
    network = machine(image="a", use_tap=True).network
    assert (network.tap, network.forwards) == ("tap3", ())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "nothing to start from"),
        ({"image": "a", "ram": "a lot"}, "'a lot' is no size"),
        ({"image": "a", "ram": 1}, "greater than or equal to 64"),
        ({"image": "a", "ram": 512, "ram-size": 512}, "ram and ram-size are two names for one thing"),
        ({"image": "a", "name": "x", "hostname": "x"}, "hostname and name are two names for one thing"),
        ({"image": "a", "virtual-hard-drive-gzipped": "True"}, "which is not there"),
        ({"image": "a", "cpu": 0}, "cpu"),
        ({"image": "a", "nat-rules": [60000]}, "nat-rules.0"),
        ({"image": "a", "nat-rules": "80 http"}, "nat-rules.1"),
        ({"image": "../a"}, "image"),
        ({"image": {"url": "https://images.example/a"}}, "url with its sha512"),
        ({"image": "a", "ssh-keys": ["root"]}, "ssh-keys.0"),
        ({"image": "a", "disks": [{"name": "root", "size": 1}]}, "same name"),
        ({"image": "a", "colour": "blue"}, "colour"),
        ({"virtual-hard-drive-url": DISK}, "virtual-hard-drive-md5sum is missing"),
        ({"image": "a", "virtual-hard-drive-md5sum": MD5}, "which is not there"),
        ({"image": "a", "virtual-hard-drive-url": DISK, "virtual-hard-drive-md5sum": MD5}, "two names for one thing"),
        ({"virtual-hard-drive-url": DISK, "virtual-hard-drive-md5sum": "5"}, "md5"),
        ({"boot-image-url-list": DISK}, "like URL#MD5"),
        ({"boot-image-url-list": f"{DISK}#{MD5} {DISK}#{MD5}"}, "starts from one"),
        ({"image": {"url": DISK, "sha512": "0" * 128, "md5": MD5}}, "url with its sha512"),
    ],
)
def test_what_cannot_be_ordered(said: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameters, match=words):
        machine_of(read_parameters(said), PLACE)


@pytest.mark.parametrize(
    ("said", "unit", "size"),
    [
        ("1 GiB", MIB, GIB),
        ("1GB", MIB, GIB),
        ("1.5g", MIB, 3 * GIB // 2),
        (512, MIB, 512 * MIB),
        ("512", MIB, 512 * MIB),
        ("100 B", MIB, 100),
    ],
)
def test_sizes(said: object, unit: int, size: int) -> None:
    assert read_size(said, unit) == size


@pytest.mark.parametrize("said", ["", "GiB", "-1", "1 XB", True, 1.5, None, "1..5G"])
def test_what_is_no_size(said: object) -> None:
    with pytest.raises(ValueError, match="size"):
        read_size(said, MIB)


def test_sizes_in_words() -> None:
    assert [in_words(size) for size in (5, 1536, 24 * MIB, 3 * GIB // 2)] == ["5 B", "1.5 KiB", "24 MiB", "1.5 GiB"]


@pytest.mark.parametrize(
    ("reference", "name"),
    [("web", "web"), ("Büro 1!", "b-ro-1"), ("...x", "x"), ("ö", "machine"), ("a" * 99, "a" * 63)],
)
def test_hostnames(reference: str, name: str) -> None:
    assert hostname_of(reference) == name
