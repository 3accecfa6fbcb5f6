"""Images that tenants name: the node is neither their way to what they do not reach, nor does it work for them for ever."""

import functools
import os
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import InvalidInput
from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ImageState, ReadyImage
from slap.model.vm.kept import KeptImage
from slap.node.cache.tools import CacheTools
from slap.node.core.config import FormatConfig
from slap.node.image import service
from slap.node.image.fetch import Fetcher
from slap.node.image.queue import ImageQueue
from slap.node.manager.images import Images, address_policy_of
from slap.system.network.address_policy import AddressPolicy, open_session
from tests.unit.node.image.test_store import DISK, Shelf, sha512
from tests.unit.node.things import PART, a_config

TENANTS = FormatConfig(alter_user=True)


def drip(images: Shelf, number: int) -> ImageEntry:
    return ImageEntry(url=f"file://{images.folder}/{number}.img", sha512=sha512(str(number).encode()))


def partial(images: Shelf, entry: ImageEntry) -> Path:
    """As after a kill in the middle of a download."""
    folder = images.store.arriving(entry)
    folder.mkdir()
    path = folder / f".{entry.digest}.partial"
    path.write_bytes(b"half")
    return path


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
    policy = address_policy_of(a_config(tmp_path).model_copy(update=settings))
    assert {address: policy.allows(address) for address in passes} == passes


def test_an_allowance_that_is_no_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="manager:images"):
        address_policy_of(a_config(tmp_path, managers={"images": {"allow": "everything"}}))


def test_what_a_tenant_names_on_this_computer_is_not_read(images: Shelf) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        tools = CacheTools(images.room.config, images.room.clock)
        fetcher = Fetcher(images.store, tools, images.runner, functools.partial(open_session, AddressPolicy()))
        entry = ImageEntry(url=f"http://127.0.0.1:{server.getsockname()[1]}/api/v1/x", sha512="a" * 128)
        with pytest.raises(InvalidInput, match="Nothing is fetched from"):
            fetcher.fetch(entry, lambda state: None)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody knocked
            server.accept()


def test_a_partition_has_some_images_fetched_at_a_time_and_holds_up_no_other(images: Shelf) -> None:
    images.is_lazy = True
    many = [drip(images, number) for number in range(5)]
    images.desk.want("slappart0", many)
    assert len(images.waiting) == 2
    assert all(images.store.told(each) == FetchingImage() for each in many)
    images.desk.want("slappart1", many[2:3])  # what the first one waits for is begun for the second
    assert len(images.waiting) == 3
    images.waiting.pop(0)()
    images.desk.want("slappart0", many)
    assert len(images.waiting) == 3


class Endless(Fetcher):
    """Stands for a download that goes on and on; in the middle of it something happens."""

    def happens(self) -> None:
        """Nothing, mostly."""

    def fetch(self, entry: ImageEntry, tell: Callable[[ImageState], None]) -> KeptImage:
        partial_folder = self.store.arriving(entry)
        partial_folder.mkdir(exist_ok=True)
        tell(FetchingImage(done=1, size=9))
        self.happens()
        tell(FetchingImage(done=2, size=9))
        raise AssertionError("it went on")


@pytest.mark.parametrize("how", ["it left", "it wishes something else"])
def test_a_download_that_nobody_waits_for_any_more_is_ended(images: Shelf, how: str) -> None:
    entry, other = drip(images, 1), drip(images, 2)
    fetcher = Endless(images.store, CacheTools(images.room.config, images.room.clock), images.runner)
    started: list[Callable[[], None]] = []
    desk = ImageQueue(fetcher, images.room.clock, started.append)
    for partition in ("slappart0", "slappart1"):
        desk.want(partition, [entry])
    desk.leave("slappart0")  # the other one waits still

    def happens() -> None:
        if how == "it left":
            desk.leave("slappart1")
        else:
            desk.want("slappart1", [other])

    fetcher.happens = happens  # type: ignore[method-assign]
    started.pop(0)()
    assert images.store.told(entry) is None
    assert not images.store.arriving(entry).exists()


def test_a_partition_that_asks_for_nothing_any_more_waits_for_nothing(images: Shelf) -> None:
    images.is_lazy = True
    manager, entry = Images(images.room.tools, images.desk), images.file()
    path = images.room.write(".slapos-images", f"[{entry.model_dump_json().replace('file:', 'http:')}]")
    manager.configured(images.room.folder)
    path.unlink()
    manager.configured(images.room.folder)
    assert not any(images.desk._wanted.values())


def test_what_a_kill_left_of_a_download_goes_unless_somebody_asks_for_it_or_is_at_it(images: Shelf) -> None:
    asked, gone, at_work = (drip(images, number) for number in range(3))
    images.room.write(".slapos-images", f"[{asked.model_dump_json()}]")
    left = [partial(images, entry) for entry in (asked, gone, at_work)]
    (images.store.incoming / ("b" * 128)).write_bytes(b"whole, as former versions had it")
    images.store.tell(gone, FailedImage(message="no"))
    with images.store.fetching(at_work), images.store.aside() as aside:
        seen = {each.path for each in service.leftovers(images.room.config)}
        assert {images.store.arriving(gone), images.store.incoming / ("b" * 128)} <= seen
        service.prune(images.room.config)
        assert [path.exists() for path in (*left, aside)] == [True, False, True, True]
    service.prune(images.room.config)
    assert [path.exists() for path in left] == [True, False, False]
    assert images.store.told(gone) is None


def test_a_wish_that_is_a_pipe_or_leads_elsewhere_is_passed_over(images: Shelf) -> None:
    images.add("mine")
    path = images.room.folder.path / ".slapos-images"
    os.mkfifo(path)
    service.prune(images.room.config)
    path.unlink()
    (images.folder / "wish").write_text('[{"name": "mine"}]')
    path.symlink_to(images.folder / "wish")
    assert service.in_use(images.room.config, images.store) == {}


def test_what_is_secret_in_a_url_is_written_down_nowhere(images: Shelf) -> None:
    """Nor is anything listed to other partitions: they have to know what they ask for."""
    (images.folder / "there.img").write_bytes(DISK)
    secret = ImageEntry(url=f"file://{images.folder}/there.img?signature=abcdef", sha512=sha512(DISK))
    assert str(secret) == "there.img"
    images.desk.want(PART, [secret])
    assert isinstance(images.store.told(secret), ReadyImage)
    for status in ("gone", "http://user:abcdef@127.0.0.1:1/x?signature=abcdef"):
        images.desk.want(
            PART, [ImageEntry(url=f"file:///{status}?abcdef" if status == "gone" else status, sha512="a" * 128)]
        )
    texts = [path.read_text() for path in images.store.root.rglob("*.json")]
    assert [text for text in texts if "abcdef" in text] == []
    assert len(texts) > 2
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in images.store.root.iterdir()}
    assert modes.pop("disks") == modes.pop("state") == 0o711
    assert set(modes.values()) == {0o700}
