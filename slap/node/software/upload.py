"""Upload builds in the background: one at a time, from a stored queue, with growing retry pauses."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from slap.cache.trust.cache_key import CacheKey
from slap.model.cache import EntryKind
from slap.model.errors import SlapError
from slap.node.cache import messages
from slap.node.cache.tools import CacheTools, with_next
from slap.node.cache.upload_queue import Upload
from slap.node.core.scheduler import delay
from slap.system import files
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    from slap.cache.client import publish
    from slap.cache.trust import sign
else:  # a node that publishes nothing has no use for them
    publish, sign = Later("slap.cache.client.publish"), Later("slap.cache.trust.sign")

log = logging.getLogger(__name__)

_GLANCE = 60.0
_NICE = 10
_LOCK = "cache-upload.lock"

Sent = Callable[[Upload, int], None]  # bytes of chunks that are in the cache


class Uploader:
    """Uploads builds; one process of a node does so at a time."""

    def __init__(self, tools: CacheTools, fingerprint: Callable[[Upload], str | None], without: frozenset[str]) -> None:
        """`fingerprint` tells one state of a folder from another; None for what is not whole. `without` is not packed."""
        self._tools = tools
        self._fingerprint = fingerprint
        self._without = without
        self._woken = threading.Event()
        self._stopped = threading.Event()

    def queue(self, upload: Upload) -> None:
        """Queue the upload of a build, if this node uploads any. Never raises: the build succeeded anyway."""
        settings = self._tools.settings
        is_wanted = upload.kind is not EntryKind.RELEASE or settings.may_upload(upload.key)
        if not self._tools.can_publish() or not is_wanted:
            return
        try:
            (self._tools.store.queue_new if upload.kind is EntryKind.PART else self._tools.store.queue)(upload)
        except SlapError as error:
            log.error("%s will not be uploaded: %s", upload.key, error)
        self._woken.set()

    def run(self) -> None:
        """Upload until `stop`, with low CPU and disk priority."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stopped.is_set():
            self._woken.clear()
            wait = self.once() if self._tools.can_publish() else _GLANCE
            self._woken.wait(wait)

    def stop(self) -> None:
        self._stopped.set()
        self._woken.set()

    def is_due(self) -> bool:
        """Whether an upload is due."""
        if not self._tools.can_publish():
            return False
        upload = self._tools.store.next_upload()
        return upload is not None and upload.due <= self._tools.now

    def once(self, sent: Sent = lambda upload, size: None) -> float:
        """Upload the next build that is due; returns seconds until the next one."""
        with files.exclusive(self._tools.config.run / _LOCK, wait=False) as mine:
            if not mine:
                return _GLANCE
            upload = self._tools.store.next_upload()
            if upload is None:
                return _GLANCE
            if upload.due > self._tools.now:
                return min(_GLANCE, upload.due - self._tools.now)
            self._attempt(upload, sent)
        return 0.0

    def upload(self, upload: Upload, sent: Sent = lambda upload, size: None) -> "publish.PublishResult":
        """Upload a build now; raises SlapError. A build that changed meanwhile is not published."""
        before = self._fingerprint(upload)
        if before is None:
            raise SlapError(f"{upload.key} is not built here.", f"{upload.folder} is not whole.")
        built = publish.BuildOutput(
            Path(upload.folder), self._question(upload), self._tools.config.computer_id, upload.started, upload.built,
            before, f"slap {version('slap')}", self._without, lambda: self._fingerprint(upload) == before,
        )  # fmt: skip
        key = self._tools.signing_key()
        published = publish.publish(
            built, key, self._tools.client, self._tools.chunk_store, lambda size: sent(upload, size)
        )
        self._tools.chunk_store.trim(self._tools.settings.chunk_limit)
        return published

    def _attempt(self, upload: Upload, sent: Sent) -> None:
        store, now = self._tools.store, self._tools.now
        try:
            if self._fingerprint(upload) is None:  # it is gone, or will be queued again when it is whole
                store.forget(upload.kind, upload.key)
                return
            published = self.upload(upload, sent)
        except (SlapError, OSError) as error:
            failures = upload.failures + 1
            log.warning("Uploading %s failed, and is tried again: %s", upload.key, with_next(error))
            store.queue(replace(upload, failures=failures, due=now + delay(failures) * 5, why=with_next(error)))
            return
        # What is still used is signed again when half of its life is over.
        store.queue(replace(upload, failures=0, why="", due=now + sign.LIFETIME / 2))
        log.info("Uploaded %s: %s were new to the cache", upload.key, messages.size(published.sent))

    def _question(self, upload: Upload) -> CacheKey:
        if upload.kind is EntryKind.RELEASE:
            return self._tools.cache_key(upload.key)
        name, _, digest = upload.key.rpartition("/")
        return self._tools.part_question(name, digest)
