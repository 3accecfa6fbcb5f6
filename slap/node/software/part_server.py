"""Server for builds: they request shared parts by digest, and the node downloads them."""

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slap.model.errors import SlapError
from slap.node.core.accounts import Account
from slap.system.trust.folders import read_below

log = logging.getLogger(__name__)

# Builds that ask at the same time; one more waits.
_MOST = 8
_LONGEST = 400  # bytes of a question
_PATIENCE = 10.0
_QUESTION = re.compile(r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,199}) (?P<digest>[0-9a-f]{32,64})\n")

# Brings a part by name and digest, unless it is there; says what came of it.
Bring = Callable[[str, str], str]


class PartServer:
    """Listens at a Unix socket that only builds can open, and delivers only signed parts."""

    def __init__(self, path: Path, bring: Bring) -> None:
        self.path = path
        self._bring = bring
        self._slots = threading.BoundedSemaphore(_MOST)

    @contextmanager
    def open(self, account: Account) -> Iterator[None]:
        """Serve requests while the block runs."""
        self.path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            self.path.chmod(0o600)
            account.chown(self.path)
            listener.listen(_MOST)
            threading.Thread(target=self._serve, args=(listener,), name="parts", daemon=True).start()
            try:
                yield
            finally:
                with suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                self.path.unlink(missing_ok=True)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                channel, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(channel,), name="part", daemon=True).start()

    def _answer(self, channel: socket.socket) -> None:
        with channel, self._slots, suppress(OSError):
            channel.settimeout(_PATIENCE)
            asked = _QUESTION.fullmatch(channel.makefile(errors="replace").readline(_LONGEST))
            words = self._look(asked["name"], asked["digest"]) if asked else "this is no question about a part"
            channel.sendall(f"{words}\n".encode())

    def _look(self, name: str, digest: str) -> str:
        try:
            return " ".join(self._bring(name, digest).split())
        except (SlapError, OSError) as error:
            log.warning("Part %s cannot be looked for: %s", name, error)
            return "the caches cannot be used"


def parts_of(release: Path, shared: Path) -> tuple[tuple[str, str], ...]:
    """Names and digests of the shared parts that a built release uses, from its buildout record."""
    record = read_below(release, ".installed.cfg")
    found = re.findall(re.escape(f"{shared}/") + r"([A-Za-z0-9_][A-Za-z0-9_.+@-]*)/([0-9a-f]{32,64})\b", record)
    return tuple(sorted(set(found)))
