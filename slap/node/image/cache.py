"""Images in caches: found by name and architecture, downloaded as one signed archive."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from slap.cache.trust.cache_key import CacheKey
from slap.model.cache import EntryKind, Platform
from slap.model.errors import InvalidInput, NotFound, SlapError
from slap.model.vm.kept import CachedImage, KeptImage
from slap.node.cache.tools import CacheTools, in_words
from slap.system import files
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    from slap.cache.client import client, lookup, publish
    from slap.cache.trust import verify
else:  # a node without caches has no use for them
    client, lookup = Later("slap.cache.client.client"), Later("slap.cache.client.lookup")
    publish, verify = Later("slap.cache.client.publish"), Later("slap.cache.trust.verify")

DISK = "disk"
ABOUT = "image.json"
_ROOT = "/image"  # images lie in no place of their own: this stands for it in statements
_MOST_TRIES = 3


@dataclass(frozen=True)
class DownloadedImage:
    """A disk from a cache, not validated yet, and the key that signed it."""

    disk: Path
    signed_by: str
    fetched: "client.FetchResult"


def cache_key_of(name: str, now: float, machine: str = "") -> CacheKey:
    """The cache key of an image: its name and the architecture."""
    machine = machine or platform.machine()
    about = Platform(os="", version="", libc="", machine=machine, python="")
    return CacheKey(f"image:{name}", _ROOT, about, now, EntryKind.IMAGE, f"{name}-{machine}")


def fetch_image(name: str, tools: CacheTools, into: Path, progress: "client.Progress") -> DownloadedImage:
    """Download an image by its name into a new folder. Raises NotFound when no cache has it, and SlapError."""
    if not tools.settings.caches:
        raise NotFound(
            f"This computer has no image {name}, and no cache to take it from.", "",
            f"Type `slapos image build {name}`, or name a cache in section [networkcache] of slapos.cfg.",
        )  # fmt: skip
    cache_key = cache_key_of(name, tools.now)
    found = tools.client.find_entries(cache_key, tools.bad_caches())
    tools.leave_alone(found.troubles)
    reasons = [*map(str, found.troubles), *found.refused]
    for each in found.found[:_MOST_TRIES]:
        try:
            fetched = tools.client.fetch(each, client.install_place(cache_key), into, progress)
            _check(into)
            verify.remember(each.verified, tools.trust, cache_key)
            return DownloadedImage(into / DISK, each.verified.key.id, fetched)
        except SlapError as error:
            files.remove_tree(into)
            reasons.append(in_words(error))
    raise _not_had(name, cache_key, reasons)


def publish_image(
    name: str, kept: KeptImage, disk: Path, tools: CacheTools, sent: Callable[[int], None]
) -> "publish.PublishResult":
    """Sign an image and upload it under a name. `disk` is in a folder where hard links can be made."""
    key = tools.signing_key()
    folder = disk.parent / "packed"
    folder.mkdir()
    os.link(disk, folder / DISK)
    about = CachedImage(format=kept.format, machine=platform.machine())
    files.write(folder / ABOUT, about.model_dump_json() + "\n")
    built = publish.BuildOutput(
        folder, cache_key_of(name, tools.now), tools.config.computer_id, kept.at, kept.at,
        kept.sha512, f"slap {version('slap')}",
    )  # fmt: skip
    published = publish.publish(built, key, tools.client, tools.chunk_store, sent)
    tools.chunk_store.trim(tools.settings.chunk_limit)
    return published


def find_entries(name: str, tools: CacheTools) -> "lookup.LookupResult":
    """Look an image up in the caches; empty without caches."""
    return tools.client.find_entries(cache_key_of(name, tools.now)) if tools.settings.caches else lookup.LookupResult()


def _check(folder: Path) -> None:
    """Raise InvalidInput unless an archive holds a disk for this machine: its signer may have packed it wrongly."""
    try:
        about = CachedImage.model_validate_json(files.read_or(folder / ABOUT, ""))
    except ValidationError as error:
        raise InvalidInput("What the cache has is no image.", f"{ABOUT}: {error.error_count()} mistakes.") from error
    disk = folder / DISK
    if disk.is_symlink() or not disk.is_file() or about.machine != platform.machine():
        raise InvalidInput("What the cache has is no image for this machine.", f"It is for {about.machine}.")


def _not_had(name: str, cache_key: CacheKey, reasons: list[str]) -> SlapError:
    why = "\n".join(dict.fromkeys(reason.strip() for reason in reasons if reason))
    return NotFound(
        f"Image {name} cannot be had.",
        why or f"The caches have none of this name for {cache_key.platform.machine}.",
        f"Type `slapos image build {name}` or `slapos image add FILE --name {name}` on this computer.",
    )
