"""Download releases from caches before building, and queue uploads after."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from slap.model.cache import EntryKind
from slap.model.errors import SlapError
from slap.node.buildout.job import BuildResult, Outcome
from slap.node.cache import messages
from slap.node.cache.tools import CacheTools, in_words
from slap.node.cache.upload_queue import Upload
from slap.node.core.accounts import Account
from slap.node.core.marker import compute_fingerprint
from slap.node.software.download import ReleaseDownloader
from slap.node.software.part_server import PartServer, parts_of
from slap.node.software.upload import Uploader
from slap.system import files
from slap.system.trust.folders import is_folder

log = logging.getLogger(__name__)

Say = Callable[[str], None]
Watch = Callable[[str, int, int], None]  # of a URL, bytes that are here of so many

# The variable by which a build finds out whom to ask for shared parts; slap/recipes/common/shared.py reads it.
ASK = "SLAP_ASK_FOR_PART"
# Seconds between two words on how far a fetch is.
_QUIET = 1.0


class NodeCache:
    """`watch` is called for every downloaded piece, for a progress bar in this process."""

    def __init__(self, tools: CacheTools, account: Account, uploads: Uploader) -> None:
        self.tools = tools
        self.uploads = uploads
        self.watch: Watch | None = None
        self._taker = ReleaseDownloader(tools, account)
        self._account = account
        self._desk = PartServer(tools.config.run / "parts.sock", self.fetch_part)
        self._asked_at: dict[str, int] = {}
        self._building = threading.Lock()
        self._builds = 0
        self._open = ExitStack()

    def take(self, url: str, is_forced: bool, say: Say) -> BuildResult:
        """DONE when a release came from a cache, WAITING when it has to be built, with why in its message; FAILED where
        it may only come from a cache."""
        settings = self.tools.settings
        self._asked_at[url] = int(self.tools.now)
        if is_forced or not settings.may_download(url):
            return BuildResult(id=0, outcome=Outcome.WAITING)
        found: list[str] = []
        try:
            cache_key = self.tools.cache_key(url)
            taken = self._taker.take(
                cache_key, self._progress(url, say), lambda folder: found.append(self._check(folder))
            )
        except (SlapError, OSError) as error:
            log.error("The caches cannot be used for %s: %s", url, error)
            return self._without(url, messages.not_taken([in_words(error)]))
        if not taken.done:
            return self._without(url, taken.message)
        return BuildResult(id=0, outcome=Outcome.DONE, message=taken.message, fingerprint=found[-1], is_taken=True)

    def built(self, url: str) -> None:
        """Queue the upload of a release that was built here."""
        now = int(self.tools.now)
        started = self._asked_at.pop(url, now)
        if not self.tools.can_publish():
            return
        try:
            taken = self.tools.store.taken_parts()
        except SlapError as error:  # it was built all the same
            log.error("%s will not be uploaded: %s", url, error)
            return
        folder, shared = self.tools.config.software(url), self.tools.config.shared_parts
        for name, digest in parts_of(folder, shared):
            key = f"{name}/{digest}"
            if key not in taken:
                self.uploads.queue(Upload(EntryKind.PART, key, str(shared / name / digest), started, now))
        self.uploads.queue(Upload(EntryKind.RELEASE, url, str(folder), started, now))

    @contextmanager
    def building(self) -> Iterator[dict[str, str]]:
        """Serve shared parts while a build runs; yields environment variables for the build."""
        if not self.tools.settings.caches:
            yield {}
            return
        with self._building:
            self._builds += 1
            if self._builds == 1:
                self._open.enter_context(self._desk.open(self._account))
        try:
            yield {ASK: str(self._desk.path)}
        finally:
            with self._building:
                self._builds -= 1
                if self._builds == 0:
                    self._open.close()

    def fetch_part(self, name: str, digest: str) -> str:
        """Download a shared part if a cache has it; returns a message.

        Of several releases that want it at the same moment, one brings it, and the others wait.
        """
        with files.exclusive(self.tools.config.run / f"part-{digest[:2]}.lock"):
            if is_folder(self.tools.config.shared_parts / name / digest):
                return "it is here"
            # Note the download before it is in its place: this node must not sign it as its own build.
            cache_key, store = self.tools.part_question(name, digest), self.tools.store
            taken = self._taker.take(
                cache_key, lambda done, total: None, lambda folder: store.note_taken(cache_key.key)
            )
            if taken.done:
                log.info("Part %s %s", name, taken.message)
            else:
                store.forget_taken(cache_key.key)
            return taken.message

    def _check(self, release: Path) -> str:
        """The fingerprint of a downloaded release, after fetching the shared parts that it uses."""
        shared = self.tools.config.shared_parts
        for name, digest in parts_of(release, shared):
            words = self.fetch_part(name, digest)
            if not is_folder(shared / name / digest):
                raise SlapError(f"The release needs the shared part {name}, which cannot be had.", words)
        return compute_fingerprint(release)

    def close(self) -> None:
        self.uploads.stop()
        self.tools.close()

    def _without(self, url: str, message: str) -> BuildResult:
        must = self.tools.settings.only_from_cache
        if must and url.startswith(must):
            why = message.removeprefix("built from source: ") or "no cache has it"
            return BuildResult(id=0, outcome=Outcome.FAILED, message=f"It may only come from a cache: {why}.")
        return BuildResult(id=0, outcome=Outcome.WAITING, message=message)

    def _progress(self, url: str, say: Say) -> Callable[[int, int], None]:
        clock = self.tools.clock
        last = [clock.monotonic()]

        def tell(done: int, total: int) -> None:
            if self.watch:
                self.watch(url, done, total)
            if clock.monotonic() - last[0] >= _QUIET:
                last[0] = clock.monotonic()
                with suppress(SlapError):  # what cannot be told now will be told when it is done
                    say(messages.progress(done, total))

        return tell


def make_node_cache(tools: CacheTools, account: Account, whole: Callable[[Path], str | None], marker: str) -> NodeCache:
    """`whole` returns the fingerprint of a complete release, `marker` is its marker's file name."""

    def state(upload: Upload) -> str | None:
        if upload.kind is EntryKind.RELEASE:
            return whole(Path(upload.folder))
        return upload.key if is_folder(Path(upload.folder)) else None

    return NodeCache(tools, account, Uploader(tools, state, frozenset({marker})))
