"""Taking a built folder from a cache: aside, whole, verified, and then renamed into its place. Whatever is wrong with the
caches, it ends within seconds, and says why."""

import errno
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slap.cache.client.errors import DownloadFailed
from slap.cache.trust.cache_key import CacheKey
from slap.model.cache import EntryKind
from slap.model.errors import SlapError
from slap.node.cache import messages
from slap.node.cache.tools import CacheTools, in_words
from slap.node.core.accounts import Account
from slap.system import files
from slap.system.lazy_import import Later
from slap.system.trust.folders import is_folder, rename

if TYPE_CHECKING:
    from slap.cache.archive import unpack
    from slap.cache.client import client, lookup
    from slap.cache.trust import verify
else:  # a node without caches has no use for them
    unpack, verify = Later("slap.cache.archive.unpack"), Later("slap.cache.trust.verify")
    client, lookup = Later("slap.cache.client.client"), Later("slap.cache.client.lookup")

log = logging.getLogger(__name__)

# Of several entries that break when they are unpacked, no more than these are tried.
_MOST_TRIES = 3

Check = Callable[[Path], None]  # raises SlapError for a folder that is not what it should be


@dataclass(frozen=True)
class DownloadResult:
    """Whether the folder is there now, and a message."""

    done: bool
    message: str = ""


class ReleaseDownloader:
    """Downloads folders by cache key; one at a time for each key."""

    def __init__(self, tools: CacheTools, account: Account) -> None:
        self._tools = tools
        self._account = account

    def take(self, cache_key: CacheKey, progress: "client.Progress", check: Check) -> DownloadResult:
        """Download the folder of a cache key into its place, if a cache delivers it in time."""
        tools = self._tools
        bad = tools.bad_caches()
        if len(bad) == len(tools.settings.caches):
            return DownloadResult(False, messages.not_taken([_LEFT_ALONE]))
        found = tools.client.find_entries(cache_key, bad)
        for notice in found.notices:
            log.warning("%s", notice)
        tools.leave_alone(found.troubles)
        reasons = [*map(str, found.troubles), *found.refused]
        candidates: tuple[lookup.FoundEntry | lookup.FoundSlaposEntry, ...] = (*found.found, *found.former)
        for each in candidates[:_MOST_TRIES]:
            try:
                fetched = self._bring(cache_key, each, progress, check)
            except DownloadFailed as error:  # no time is left for others
                self._tools.leave_alone(error.troubles)
                reasons.append(in_words(error))
                break
            except (SlapError, OSError) as error:
                reasons.append(in_words(error))
                continue
            return DownloadResult(True, messages.taken(each.verified.key, fetched))
        return DownloadResult(False, messages.not_taken(reasons))

    def _bring(
        self,
        cache_key: CacheKey,
        found: "lookup.FoundEntry | lookup.FoundSlaposEntry",
        progress: "client.Progress",
        check: Check,
    ) -> "client.FetchResult":
        place = client.install_place(cache_key)
        target = Path(place.path)
        # Not beside a shared part, where builds may write: what we own there could be exchanged under our hands.
        staged = self._tools.config.software_root / f".from-cache-{target.name}"
        if cache_key.kind is EntryKind.PART:  # builds will add others of its name
            for folder in (self._tools.config.shared_parts, target.parent):
                files.make_folder(folder, owner=self._account.owner)
        for left in (staged, staged.with_name(f"{staged.name}.tar.gz")):  # of one that was killed
            files.remove_tree(left)
        try:
            if isinstance(found, lookup.FoundEntry):
                fetched = self._tools.client.fetch(found, place, staged, progress)
            else:
                fetched = self._tools.client.fetch_slapos_entry(found, staged, progress)
            check(staged)
            own_tree(staged, self._account)
            unpack.flush(staged)
            if cache_key.kind is not EntryKind.PART or not is_folder(target):  # a part that is there is whole, and used
                put_in_place(staged, target)
        finally:
            files.remove_tree(staged)
        if isinstance(found, lookup.FoundEntry):
            verify.remember(found.verified, self._tools.trust, cache_key)
            self._tools.leave_alone(fetched.troubles)
            for cache in {*found.caches} - {trouble.cache for trouble in fetched.troubles}:
                self._tools.store.mark_good(cache.name)
        return fetched


def put_in_place(staged: Path, target: Path) -> None:
    """Move a complete folder into its place, and delete an incomplete one that was there."""
    former = target.with_name(f".former-{target.name}")
    files.remove_tree(former)
    with suppress(FileNotFoundError):
        rename(target, former)
    files.put_in_place(staged, target)
    files.remove_tree(former)


def own_tree(folder: Path, account: Account) -> None:
    """Give a tree to its account, from the inside out: what that user may write to is finished.

    In a folder that is the user's already, only what is the user's is touched: hard links to other people's files may lie
    there. Raises PermissionError for a folder of anybody else.
    """
    if account.owner is None:
        return
    for _, names, others, place in os.fwalk(folder, topdown=False, onerror=_raise):
        seen = os.fstat(place)
        if seen.st_uid == os.geteuid() and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            for name in (*names, *others):
                os.chown(name, *account.owner, dir_fd=place, follow_symlinks=False)
        elif seen.st_uid == account.user:
            for name in others:
                _own_again(name, place, account.owner)
        else:
            raise PermissionError(errno.EPERM, "holds a folder in which others may write", str(folder))
        os.fchown(place, *account.owner)


def _own_again(name: str, folder: int, owner: tuple[int, int]) -> None:
    with suppress(FileNotFoundError):
        file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if os.fstat(file).st_uid == owner[0]:
                os.chown(f"/proc/self/fd/{file}", *owner)
        finally:
            os.close(file)


def _raise(error: OSError) -> None:
    raise error


_LEFT_ALONE = "caches failed a moment ago, and are left alone for a while"
