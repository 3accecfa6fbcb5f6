"""Software releases read for the users of a master: from where they may be, and within each user's own limits."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from slap.master.access.auth import Caller
from slap.master.release.read import Limits, ReadRelease, read_release
from slap.master.release.settings import ReleaseSettings
from slap.master.schema.parameters import check_costly_schema
from slap.master.schema.validation import SchemaChecks
from slap.model.errors import InvalidInput, NotFound, TooMany, Unreachable
from slap.model.network.firewall import parse_network
from slap.system.lazy_import import Later
from slap.system.serving.user_threads import ThreadLimits, UserThreads

if TYPE_CHECKING:
    from slap.system.network import address_policy, documents
else:  # the HTTP library takes longer to load than `slapos master start --help` takes
    documents, address_policy = Later("slap.system.network.documents"), Later("slap.system.network.address_policy")

log = logging.getLogger(__name__)

_MAX_FILE_BYTES = 1 << 20
_ALLOW_NETWORK = (
    "Use a public address. Whoever runs the master can allow others: release_networks in its configuration."
)
_ALLOW_FOLDER = (
    "Use an http or https URL. Whoever runs the master can allow folders: release_folders in its configuration."
)
ReleaseReading = Callable[[str], Awaitable[ReadRelease]]  # of a URL, for one caller


class ReleaseReader:
    """Reads software releases for the users of a master, each within its own limits."""

    def __init__(self, settings: ReleaseSettings, checks: SchemaChecks) -> None:
        self.checks = checks
        self._settings = settings
        self.refused: Counter[str] = Counter()  # why, as /health has it
        seconds = settings.release_seconds
        self._threads = UserThreads(ThreadLimits(settings.release_readers, settings.release_queue, seconds + 1))

    async def read(self, caller: Caller, url: str, as_myself: bool) -> ReadRelease:
        """A release that a caller names; `as_myself` when the caller could read all that this process can.

        Raises NotFound, BrokenRelease, or another InvalidInput, naming the file; TooMany; Unreachable.
        """
        try:
            found = await self._threads.run(caller.owner, lambda: self._read(url, as_myself))
            for key, name in found.costly.items():
                await check_costly_schema(self.checks, caller.owner, found.schemas[key], name)
            return found
        except (InvalidInput, NotFound, TooMany, Unreachable) as error:
            self.refused["too-many-releases" if isinstance(error, TooMany) else "release"] += 1
            log.warning("Release %.200r is refused to %r: %.300r", url, caller.owner, f"{error.brief} {error.details}")
            raise

    def _read(self, url: str, as_myself: bool) -> ReadRelease:
        reader = documents.DocumentReader(self._sources(as_myself), self._limits())
        return read_release(url, reader, Limits(self._settings.release_max_bytes, self.checks.settings.limits))

    def _sources(self, as_myself: bool) -> "documents.Sources":
        if as_myself:
            everywhere = address_policy.AddressPolicy(address_policy.EVERYWHERE)
            return documents.Sources(everywhere, as_myself=True)
        networks = tuple(map(parse_network, self._settings.release_networks))
        return documents.Sources(
            address_policy.AddressPolicy(networks, _ALLOW_NETWORK),
            self._settings.release_folders,
            self._settings.release_proxy,
            _ALLOW_FOLDER,
        )

    def _limits(self) -> "documents.Limits":
        settings = self._settings
        return documents.Limits(
            settings.release_seconds, settings.release_max_bytes, _MAX_FILE_BYTES, settings.release_max_files
        )
