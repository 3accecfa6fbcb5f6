"""Images of a computer: fetched once, checked, remembered, and removed only when nobody can need them."""

import errno
import gzip
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import Conflict, InvalidInput, NotFound, StorageFull
from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ReadyImage
from slap.model.vm.kept import KeptImage, Origin
from slap.node.cache.tools import CacheTools
from slap.node.image import service
from slap.node.image.fetch import Fetcher, check_room
from slap.node.image.queue import ImageQueue
from slap.node.image.store import ImageStore
from slap.node.image.validate import judge, kind_of, objection
from slap.node.manager.images import Images, entries_of
from slap.system.disk.qemu_img import BrokenImage, ImageInfo, QemuImg
from slap.system.process import Completed, FakeRunner
from tests.unit.node.managed import Room
from tests.unit.node.things import PART

DISK = b"\0" * 512 + b"the bytes of a disk" * 100


def sha512(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest()


@dataclass
class Shelf:
    """The images of a node, whose work is done at once, or when it is asked for."""

    folder: Path
    waiting: list[Callable[[], None]] = field(default_factory=list)
    is_lazy: bool = False

    def __post_init__(self) -> None:
        self.room = Room(self.folder / "node")
        self.store = ImageStore(self.room.config.images)
        self.store.make()
        said = json.dumps({"format": "raw", "virtual-size": len(DISK)})
        self.runner = FakeRunner({"prlimit": Completed(None, 0, said)})  # type: ignore[arg-type]
        self.fetcher = Fetcher(self.store, CacheTools(self.room.config, self.room.clock), self.runner)
        self.desk = ImageQueue(self.fetcher, self.room.clock, self.start)

    def start(self, work: Callable[[], None]) -> None:
        self.waiting.append(work) if self.is_lazy else work()

    def file(self, content: bytes = DISK) -> ImageEntry:
        path = self.folder / "there.img"
        path.write_bytes(content)
        return ImageEntry(url=f"file://{path}", sha512=sha512(content))

    def add(self, name: str, content: bytes = DISK, origin: Origin = Origin.ADDED) -> KeptImage:
        path = self.folder / "added.img"
        path.write_bytes(content)
        return self.fetcher.add(path, name, origin)


@pytest.fixture
def images(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_an_image_is_fetched_once_and_told_to_all_who_ask(images: Shelf) -> None:
    entry = images.file()
    images.is_lazy = True
    images.desk.want("slappart0", [entry])
    images.desk.want("slappart1", [entry])
    assert len(images.waiting) == 1
    assert images.store.told(entry) == FetchingImage()
    images.waiting.pop()()
    told = images.store.told(entry)
    assert isinstance(told, ReadyImage)
    assert told.path.read_bytes() == DISK
    assert oct(told.path.stat().st_mode)[-3:] == "444"
    (images.folder / "there.img").unlink()
    images.desk.want("slappart1", [entry])
    assert (images.waiting, images.store.users()) == ([], {sha512(DISK): {"slappart1"}})
    assert list(images.store.incoming.glob("[0-9a-f]*")) == []


def test_what_has_another_digest_is_refused_and_nothing_of_it_stays(images: Shelf) -> None:
    entry = images.file().model_copy(update={"sha512": "a" * 128})
    images.desk.want(PART, [entry])
    told = images.store.told(entry)
    assert isinstance(told, FailedImage)
    assert "is not what was asked for" in told.message
    assert sha512(DISK) not in told.message
    assert images.store.records() == []
    assert [path.name for path in images.store.incoming.iterdir() if not path.name.endswith(".lock")] == []


def zipped(images: Shelf, content: bytes) -> ImageEntry:
    """As SlapOS names one: a .gz, by its MD5."""
    path = images.folder / "there.img.gz"
    path.write_bytes(content)
    return ImageEntry(url=f"file://{path}", md5=hashlib.md5(content).hexdigest(), gzipped=True)


def test_an_image_of_slapos_is_fetched_by_its_md5_and_unzipped(images: Shelf) -> None:
    disk = DISK + bytes(3 << 20) + DISK + bytes(2 << 20)
    entry = zipped(images, gzip.compress(disk))
    images.desk.want(PART, [entry])
    told = images.store.told(entry)
    assert isinstance(told, ReadyImage) and told.path.read_bytes() == disk and told.sha512 == sha512(disk)
    assert [path.name for path in images.store.incoming.iterdir() if not path.name.endswith(".lock")] == []
    assert images.fetcher.fetch(entry, lambda state: None).sha512 == sha512(disk)
    assert images.store.find(ImageEntry(url=entry.url, md5="0" * 32)) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (DISK, "no whole .gz"),
        (gzip.compress(DISK)[:-9], "no whole .gz"),
        (gzip.compress(DISK)[:30] + b"?" + gzip.compress(DISK)[31:], "no whole .gz"),
    ],
)
def test_a_zipped_image_that_is_broken_leaves_nothing(images: Shelf, content: bytes, says: str) -> None:
    entry = zipped(images, content)
    images.desk.want(PART, [entry])
    told = images.store.told(entry)
    assert isinstance(told, FailedImage) and says in told.message
    assert [path.name for path in images.store.incoming.iterdir() if not path.name.endswith(".lock")] == []


def test_a_failure_is_tried_again_later_and_later(images: Shelf) -> None:
    entry = ImageEntry(name="nowhere")
    images.is_lazy = True
    for pause, begins in ((0, True), (1, False), (1.5, True), (3, False), (1.5, True)):
        images.room.clock.sleep(pause)
        images.desk.want(PART, [entry])
        assert bool(images.waiting) is begins, pause
        while images.waiting:
            images.waiting.pop()()
    told = images.store.told(entry)
    assert isinstance(told, FailedImage)
    assert "slapos image build nowhere" in told.message
    images.add("nowhere")
    images.desk.want(PART, [entry])
    assert isinstance(images.store.told(entry), ReadyImage)


def test_what_another_process_fetches_is_left_to_it(images: Shelf, tmp_path: Path) -> None:
    entry = images.file()
    other = ImageQueue(images.fetcher, images.room.clock, lambda work: None)
    images.is_lazy = True
    images.desk.want(PART, [entry])
    other.want(PART, [entry])
    images.waiting.pop()()
    assert isinstance(images.store.told(entry), ReadyImage)


@pytest.mark.parametrize("left", ["disk", "disk and record", "aside", "state"])
def test_work_that_was_killed_is_completed(images: Shelf, left: str) -> None:
    entry, digest = images.file(), sha512(DISK)
    if left.startswith("disk"):
        images.store.disk(digest).write_bytes(b"half")
    if left == "disk and record":
        images.store.disk(digest).unlink()
        (images.store.root / "records" / f"{digest}.json").write_text('{"sha512"')
    if left == "aside":
        (images.store.incoming / "aside-1").mkdir()
    if left == "state":
        images.store.tell(entry, ReadyImage(path=Path("/gone"), sha512=digest, format="raw", virtual_size=1))
    assert images.store.find(entry) is None
    images.desk.want(PART, [entry])
    kept = images.store.find(entry)
    assert kept
    assert images.store.disk(kept.sha512).read_bytes() == DISK
    service.prune(images.room.config)
    assert images.store.litter() == []


def test_a_name_means_what_was_added_last(images: Shelf) -> None:
    first, second = images.add("mine"), images.add("mine", DISK + DISK)
    assert images.store.named("mine") == second
    assert images.store.record(first.sha512) == first
    assert images.add("other", DISK + DISK).sha512 == second.sha512
    assert service.meant(images.store, "other") == service.meant(images.store, second.sha512[:12])
    with pytest.raises(NotFound):
        service.meant(images.store, "nowhere")


def test_an_image_that_machines_use_stays(images: Shelf) -> None:
    kept = images.add("mine")
    images.desk.want(PART, [ImageEntry(name="mine")])
    with pytest.raises(Conflict, match="in use"):
        service.remove(images.room.config, images.store, "mine")
    images.desk.leave(PART)
    images.room.write(".slapos-images", '[{"name": "mine"}]')
    with pytest.raises(Conflict):
        service.remove(images.room.config, images.store, "mine")
    (images.room.folder.path / ".slapos-images").write_text("nonsense")
    service.remove(images.room.config, images.store, "mine")
    assert (images.store.records(), images.store.told(ImageEntry(name="mine"))) == ([], None)
    assert not images.store.disk(kept.sha512).exists()


def test_of_several_names_one_goes_alone(images: Shelf) -> None:
    kept = images.add("one")
    images.add("two")
    images.desk.want(PART, [ImageEntry(name="two")])
    service.remove(images.room.config, images.store, "one")
    assert images.store.names() == {"two": kept.sha512}


def test_what_was_fetched_goes_with_its_last_partition_and_what_was_added_stays(images: Shelf) -> None:
    entry = images.file(DISK + b"more")
    images.desk.want(PART, [entry])
    images.add("mine")
    images.desk.want(PART, [entry])
    assert service.leftovers(images.room.config) == ()
    images.desk.leave(PART)
    assert [each.reason for each in service.leftovers(images.room.config)] == ["no partition uses this image"]
    service.prune(images.room.config)
    assert [each.origin for each in images.store.records()] == [Origin.ADDED]


def test_a_disk_that_would_be_full_is_told_before(images: Shelf) -> None:
    with pytest.raises(StorageFull, match="no room"):
        check_room(images.store, 1 << 60)


def test_what_does_not_fit_after_all_leaves_nothing(images: Shelf) -> None:
    entry = images.file()

    def full(file: Path, origin: Origin, source: str = "") -> KeptImage:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    images.fetcher.take = full  # type: ignore[method-assign]
    with pytest.raises(StorageFull, match="cannot be kept"):
        images.fetcher.fetch(entry, lambda state: None)


def test_the_manager_hears_wishes_and_forgets_who_left(images: Shelf) -> None:
    images.add("mine")
    manager = Images(images.room.tools, images.desk)
    manager.configured(images.room.folder)
    assert images.store.users() == {}
    images.room.write(".slapos-images", '[{"name": "mine"}]')
    manager.configured(images.room.folder)
    assert list(images.store.users().values()) == [{PART}]
    manager.emptied(images.room.folder)
    assert images.store.users() == {}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ([{"name": "../x"}], "name"),
        ([{"url": "http://h/x"}], "sha512"),
        (["tiny"], "0"),
        ([{"url": "file:///etc/passwd", "sha512": "a" * 128}], "a file of this computer"),
        ([{"name": f"n{number}"} for number in range(17)], "17 images"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_told(asked: list[Any], says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        entries_of(asked, PART)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [(b"QFI\xfb\0\0\0\3", "qcow2"), (b"\0" * 64, "raw"), (b"\xeb\x63\x90", "raw"), (b"KDMV", ""), (b"\x1f\x8b", ""),
     (b"<!DOCTYPE html>", ""), (b"", "")],
)  # fmt: skip
def test_the_format_is_told_by_the_first_bytes(beginning: bytes, kind: str) -> None:
    if kind:
        assert kind_of(beginning) == kind
    else:
        with pytest.raises(BrokenImage, match="no image"):
            kind_of(beginning)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (ImageInfo(format="qcow2", virtual_size=1), ""),
        (ImageInfo(format="qcow2", virtual_size=1, backing_file="/etc/shadow"), "/etc/shadow"),
        (ImageInfo(format="qcow2", virtual_size=1, data_file="/etc/shadow"), "another file"),
        (ImageInfo(format="qcow2", virtual_size=0), "0 bytes"),
        (ImageInfo(format="qcow2", virtual_size=1 << 60), "bytes"),
    ],
)
def test_an_image_that_reaches_out_is_refused(seen: ImageInfo, says: str) -> None:
    assert says in objection(seen)
    assert bool(says) == bool(objection(seen))


def test_what_qemu_finds_broken_is_refused_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"QFI\xfb" + b"\0" * 100)
    broken = Completed(None, 1, "", "qemu-img: Could not open: Unsupported version\n")  # type: ignore[arg-type]
    with pytest.raises(BrokenImage, match="not a whole") as caught:
        judge(path, QemuImg(FakeRunner({"prlimit": broken})))
    assert "Unsupported version" in caught.value.details
