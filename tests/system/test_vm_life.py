"""The life of a machine, on real ones: snapshots, backups, clones, a disk that grows, and its screen in a browser."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from slap.model.state import Status
from tests.system.cloud import eventually, small_cloud
from tests.system.machines import KVM, Guests, make_key
from tests.system.tiny import tiny_image

ALL_OF_IT = {"ram": "128 MiB", "ram_max": "128 MiB"}


@pytest.fixture(scope="module")
def guests() -> Iterator[Guests]:
    with small_cloud(3) as cloud:
        cloud.slapos("image", "add", str(tiny_image()), "--name", "tiny")
        cloud.supply(KVM)
        made = Guests(cloud, make_key(cloud.folder))
        made.order("web", "--no-wait", check=False, disk_size="1 GiB", cpu_max=2, **ALL_OF_IT)
        cloud.slapos("request", "safe", str(KVM), "--type", "vault")
        wait(made, "web")
        yield made


def info(guests: Guests, name: str) -> dict[str, Any]:
    found: dict[str, Any] = guests.cloud.slapos("service", "info", name, "-f", "json").json
    return found


def wait(guests: Guests, name: str) -> None:
    """On a busy computer a guest may boot for longer than it counts as starting."""
    master = guests.cloud.master()
    eventually(lambda: master.instances(name)[0].status is Status.STARTED, 180, 0.1)


def names(said: list[dict[str, Any]]) -> list[str]:
    return [each["name"] for each in said]


def test_a_machine_goes_back_and_another_one_begins_from_its_backup(guests: Guests) -> None:
    """One story, for each start takes seconds: the clone boots while the first one restarts."""
    cloud = guests.cloud
    guests.ssh("web", "echo 1 > /root/before; sync")
    cloud.slapos("vm", "snapshot", "web", "clean")
    guests.ssh("web", "echo 2 > /root/after; sync")
    cloud.slapos("vm", "backup", "web", "--vault", "safe", "--every", "1h")
    guests.ssh("web", "echo 3 > /root/last; sync")
    cloud.slapos("vm", "backup", "web")
    whole, changes = guests.connection("web")["backups"]
    assert (whole["kind"], changes["kind"]) == ("whole", "changes")
    assert changes["size"] < whole["size"] / 5

    cloud.slapos("vm", "clone", "web", "twin", "--no-wait", check=False)
    cloud.slapos("vm", "restore", "web", "clean", "--no-wait", check=False)
    wait(guests, "web")
    assert guests.ssh("web", "ls /root").split() == ["before"]
    assert names(guests.connection("web")["snapshots"]) == ["clean"]

    wait(guests, "twin")
    assert guests.ssh("twin", "ls /root").split() == ["after", "before", "last"]
    assert guests.ssh("twin", "hostname") == "twin"
    for own in ("cat /etc/machine-id", "md5sum < /etc/dropbear/dropbear_ed25519_host_key"):
        assert guests.ssh("twin", own) != guests.ssh("web", own) != ""


def test_processors_disk_and_memory_change_while_a_machine_runs(guests: Guests) -> None:
    """Where guests are emulated, more processors may take a restart, and that is said. All the rest never does: memory comes
    back that a machine had from its start, and a disk is never cut, whatever was ordered last."""
    boot = "cat /proc/sys/kernel/random/boot_id"
    before, parameters, much = guests.ssh("web", boot), info(guests, "web")["parameters"], memory(guests)
    ordered = {name.replace("-", "_"): value for name, value in parameters.items()} | {"cpu": 2}
    assert guests.ssh("web", "nproc") == "1"
    done = guests.order("web", **ordered)
    eventually(lambda: guests.ssh("web", "nproc") == "2")
    now = guests.ssh("web", boot)
    assert now == before or "restarting for cpus" in done.stderr

    grown = ordered | {"disk_size": "2 GiB", "ram": "104 MiB"}
    guests.order("web", **grown)
    eventually(lambda: (disk(guests), memory(guests)) == (2 << 30, much - 24))
    guests.order("web", **(grown | ALL_OF_IT | {"disk_size": None}))
    eventually(lambda: memory(guests) == much)
    refused = guests.order("web", "--timeout", "20", check=False, **(grown | {"disk_size": "1536 MiB"}))
    assert "Disk root cannot become smaller." in refused.stderr
    assert (disk(guests), memory(guests)) == (2 << 30, much)
    guests.order("web", **grown)
    assert guests.ssh("web", boot) == now


def disk(guests: Guests) -> int:
    """Of the guest, in bytes."""
    return int(guests.ssh("web", "cat /sys/block/vda/size")) * 512


def memory(guests: Guests) -> int:
    """Of the guest, in MiB, without what its balloon holds."""
    return int(guests.ssh("web", "sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo")) >> 10


def test_what_cannot_be_is_said_before_anything_is_ordered(guests: Guests) -> None:
    said = guests.cloud.slapos("vm", "restore", "web", "never", check=False)
    assert said.status == 1
    assert "web has no snapshot never." in said.stderr
    assert "There are: clean." in said.stderr
    said = guests.cloud.slapos("vm", "clone", "twin", "other", check=False)
    assert "twin has no backups in a vault." in said.stderr


def test_the_screen_is_seen_in_a_browser(guests: Guests, tmp_path: Path) -> None:
    seen = guests.cloud.slapos("vm", "console", "web", "-f", "json").json
    url = seen["console-url"]
    assert status_of(url) == "401"
    url = url.replace("https://", f"https://{seen['console-user']}:{seen['console-password']}@")
    eventually(lambda: is_connected(in_browser(url, tmp_path)), 90)


def status_of(url: str) -> str:
    argv = ("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", url)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def is_connected(page: str) -> bool:
    """A browser may run out of its time before a busy computer answers."""
    return "noVNC_connected" in re.findall(r"<html[^>]*>", page)[0]


def in_browser(url: str, folder: Path, within: Sequence[str] = ()) -> str:
    """The page as a browser has it after some seconds of its own time."""
    argv = (
        *within, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
        f"--user-data-dir={folder}", "--virtual-time-budget=8000", "--timeout=10000", "--dump-dom", url,
    )  # fmt: skip
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
