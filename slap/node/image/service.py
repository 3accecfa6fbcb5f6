"""Which images this computer needs, and removing the others."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from slap.model.errors import Conflict, NotFound
from slap.model.vm.image import WISH_FILE, ImageEntry
from slap.model.vm.kept import KeptImage
from slap.node.core.config import NodeConfig
from slap.node.image.store import ImageStore
from slap.node.software.prune import Leftover
from slap.system import files
from slap.system.trust.untrusted_files import read_owned

_ENTRIES = TypeAdapter(tuple[ImageEntry, ...])
_LONGEST = 64 * 1024  # bytes of a request file
_SHORTEST = 8  # digits of a digest that are enough to name an image


def in_use(config: NodeConfig, store: ImageStore) -> dict[str, set[str]]:
    """Partitions by the digests of images: those that they use and those that they request now."""
    found = store.users()
    for partition, entry in _requests(config):
        kept = store.find(entry)
        if kept:
            found.setdefault(kept.sha512, set()).add(partition)
    return found


def unused(config: NodeConfig, store: ImageStore) -> list[KeptImage]:
    """Images fetched for partitions that are gone. Those built or added here stay until removed by name."""
    used = in_use(config, store)
    return [each for each in store.records() if each.sha512 not in used and not each.origin.is_own]


def meant(store: ImageStore, word: str) -> KeptImage:
    """The image of a name or of the beginning of a digest; raises NotFound."""
    found = store.named(word) if "/" not in word else None
    if found:
        return found
    alike = [each for each in store.records() if len(word) >= _SHORTEST and each.sha512.startswith(word)]
    if len(alike) != 1:
        raise NotFound(f"This computer has no image {word}.", resolution="Type `slapos image list`.")
    return alike[0]


def remove(config: NodeConfig, store: ImageStore, word: str) -> KeptImage:
    """Remove an image; raises Conflict when machines have disks on top of it.

    One of several names of an image goes alone.
    """
    kept = meant(store, word)
    names = [name for name, sha512 in store.names().items() if sha512 == kept.sha512]
    if word in names and len(names) > 1:
        store.unname(word)
        return kept
    users = in_use(config, store).get(kept.sha512)
    if users:
        raise Conflict(
            f"Image {word} is in use.", f"Machines in {', '.join(sorted(users))} may have disks on top of it.",
            "Destroy these services first: slapos node status",
        )  # fmt: skip
    store.remove(kept.sha512)
    return kept


def leftovers(config: NodeConfig) -> tuple[Leftover, ...]:
    """What `prune` would remove: unused images, and remains of interrupted work."""
    store = ImageStore(config.images)
    return (
        *(Leftover(store.disk(each.sha512), "no partition uses this image") for each in unused(config, store)),
        *(Leftover(path, "an image that never was whole") for path in _litter(config, store)),
    )


def prune(config: NodeConfig) -> None:
    """Remove unused images and remains of interrupted work."""
    store = ImageStore(config.images)
    for kept in unused(config, store):
        store.remove(kept.sha512)
    for path in _litter(config, store):
        files.remove_tree(path)


def _litter(config: NodeConfig, store: ImageStore) -> list[Path]:
    return store.litter({entry.key for _, entry in _requests(config)})


def _requests(config: NodeConfig) -> Iterable[tuple[str, ImageEntry]]:
    """The entries that partitions request now, by partition."""
    for path in config.instance_root.glob(f"*/{WISH_FILE}"):
        yield from ((path.parent.name, entry) for entry in _read_entries(path))


def _read_entries(path: Path) -> tuple[ImageEntry, ...]:
    """The entries in one partition's request file; none while it is invalid."""
    with suppress(OSError, ValueError, ValidationError, RecursionError):
        return _ENTRIES.validate_python(json.loads(read_owned(path.parent, path.name, None, _LONGEST)))
    return ()
