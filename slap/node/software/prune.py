"""Find what nothing needs: unwanted releases, old downloads, logs and records."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slap.model.software import software_id
from slap.model.state import SupplyState
from slap.node.core.config import NodeConfig
from slap.node.core.store import Store
from slap.system import files
from slap.system.trust.folders import read_below

# What a fetch unpacks aside has not changed for this many seconds when nobody fetches it any more.
_ABANDONED = 24 * 3600.0


@dataclass(frozen=True)
class Leftover:
    """A path that can be removed, and the reason."""

    path: Path
    reason: str


def find_leftovers(config: NodeConfig, store: Store, elsewhere: Iterable[Path] = ()) -> tuple[Leftover, ...]:
    """What `slapos node prune` would remove; never a release that an instance uses.

    Nor is one that a release in another folder (`elsewhere`) was built with.
    """
    wanted = {each.url for each in store.supplies() if each.state is SupplyState.AVAILABLE}
    used = {each.software_release for each in store.instances()}
    keep = {software_id(url) for url in wanted | used} | _mentioned(config, elsewhere)
    partitions = {each.name for each in config.instance_root.glob("*")}
    return (
        *_without(config.software_root.glob("[0-9a-f]*"), keep, "no supply or instance wants this release"),
        *_abandoned(config.software_root.glob(".from-cache-*")),
        *_without((config.log / "software").glob("*.log"), keep, "log of a release that is gone"),
        *_without(config.partition_logs.glob("*"), partitions, "logs of a partition that is gone"),
        *(
            Leftover(path, "downloads are fetched again when needed")
            for path in [config.download_cache]
            if path.exists()
        ),
    )


def prune(leftovers: Iterable[Leftover]) -> None:
    for leftover in leftovers:
        files.remove_tree(leftover.path)


def is_release(config: NodeConfig, leftover: Leftover) -> bool:
    return leftover.path.parent == config.software_root and not leftover.path.name.startswith(".")


def _mentioned(config: NodeConfig, folders: Iterable[Path]) -> set[str]:
    """Releases whose folder is named in buildout records of releases elsewhere."""
    records = [read_below(path.parent, path.name) for folder in folders for path in folder.glob("*/.installed.cfg")]
    return {path.name for path in config.software_root.glob("[0-9a-f]*") if any(str(path) in text for text in records)}


def _without(paths: Iterable[Path], keep: set[str], reason: str) -> Iterable[Leftover]:
    return (Leftover(path, reason) for path in sorted(paths) if path.stem not in keep)


def _abandoned(paths: Iterable[Path]) -> Iterable[Leftover]:
    return (Leftover(path, "a fetch from a cache that did not end") for path in sorted(paths) if _is_abandoned(path))


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED
    except FileNotFoundError:  # it has just ended
        return False
