"""Images that tenants name: the node is neither their way to what they do not reach, nor does it work for them for ever."""

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import InvalidInput
from slap.model.vm.image import ImageEntry
from slap.node.cache.tools import CacheTools
from slap.node.config import FormatConfig
from slap.node.image.fetch import Fetcher
from slap.node.manager.images import gate_of
from slap.system.network.gate import Gate
from tests.unit.node.test_image_store import Shelf
from tests.unit.node.things import a_config

TENANTS = FormatConfig(alter_user=True)


@pytest.fixture
def images(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, {"127.0.0.1": True, "10.0.0.1": True}),
        ({"format": TENANTS}, {"127.0.0.1": False, "10.0.0.1": False, "9.9.9.9": True}),
        (
            {"format": TENANTS, "managers": {"images": {"allow": "10.0.0.0/8\n127.0.0.1"}}},
            {"127.0.0.1": True, "127.0.0.2": False, "10.0.0.1": True},
        ),
    ],
)
def test_images_of_tenants_come_from_public_addresses_and_those_that_the_operator_allows(
    settings: dict[str, Any], passes: dict[str, bool], tmp_path: Path
) -> None:
    gate = gate_of(a_config(tmp_path).model_copy(update=settings))
    assert {address: gate.passes(address) for address in passes} == passes


def test_an_allowance_that_is_no_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="manager:images"):
        gate_of(a_config(tmp_path, managers={"images": {"allow": "everything"}}))


def test_what_a_tenant_names_on_this_computer_is_not_read(images: Shelf) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        tools = CacheTools(images.room.config, images.room.clock)
        fetcher = Fetcher(images.store, tools, images.runner, Gate().session)
        entry = ImageEntry(url=f"http://127.0.0.1:{server.getsockname()[1]}/api/v1/x", sha512="a" * 128)
        with pytest.raises(InvalidInput, match="Nothing is fetched from"):
            fetcher.fetch(entry, lambda state: None)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody knocked
            server.accept()
