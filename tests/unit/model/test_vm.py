"""Documents about machines, and the key by which partition and node mean the same image."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ReadyImage, read_state, state_file
from slap.model.vm.machine import Disk, Machine, Network
from slap.model.vm.seed import Seed

DIGEST = "ab" * 64
TINY = ImageEntry(name="tiny")


def machine(**changes: Any) -> Machine:
    known = {
        "name": "slappart0",
        "uuid": "0f0e0d0c-0b0a-0908-0706-050403020100",
        "memory": 128,
        "cpus": 1,
        "disks": (Disk(name="root", image=TINY),),
        "network": Network(mac="52:54:00:00:00:01"),
        "seed": Seed(identity="one", hostname="one"),
    }
    return Machine.model_validate({**known, **changes})


def test_an_image_has_one_key_whoever_asks() -> None:
    url = ImageEntry(url="https://images.example/a.qcow2", sha512=DIGEST)
    assert TINY.key == ImageEntry.model_validate({"name": "tiny"}).key
    assert len({TINY.key, ImageEntry(name="debian-12").key, url.key}) == 3
    assert state_file(Path("/images"), TINY) == Path(f"/images/state/{TINY.key}.json")
    assert (str(TINY), str(url)) == ("tiny", "a.qcow2")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": "tiny", "url": "https://images.example/a", "sha512": DIGEST},
        {"url": "https://images.example/a"},
        {"name": "tiny", "sha512": DIGEST},
        {"name": "../tiny"},
        {"url": "ftp://images.example/a", "sha512": DIGEST},
        {"url": "https://images.example/a", "sha512": "ab"},
        {"name": "tiny", "size": 1},
    ],
)
def test_an_image_is_named_in_one_way(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImageEntry.model_validate(wrong)


def test_states_travel_as_json() -> None:
    ready = ReadyImage(path=Path("/i/a"), sha512=DIGEST, format="qcow2", virtual_size=1)
    for state in (FetchingImage(done=1, size=2), ready, FailedImage(message="no")):
        assert read_state(state.model_dump_json()) == state
    with pytest.raises(ValidationError):
        read_state('{"state": "lost"}')


def test_a_machine_names_each_image_once() -> None:
    disks = (Disk(name="root", image=TINY), Disk(name="two", image=TINY), Disk(name="three", size=1))
    assert machine(disks=disks, boot_iso=ImageEntry(name="iso")).images == (TINY, ImageEntry(name="iso"))


@pytest.mark.parametrize(
    "changes",
    [
        {"memory": 1},
        {"cpus": 0},
        {"disks": ()},
        {"disks": ({"name": "root", "size": 1}, {"name": "root", "size": 2})},
        {"disks": ({"name": "root"},)},
        {"disks": ({"name": "root", "format": "raw", "image": {"name": "tiny"}},)},
        {"disks": ({"name": "../root", "size": 1},)},
        {"cpu_model": "host, +vmx"},
        {"more": 1},
    ],
)
def test_a_machine_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        machine(**changes)
