"""What our own caches have of a release, in the columns of `cachelookup binary-sr`."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from slap.cache.trust.envelope import payload_of
from slap.cache.trust.former import multiarch
from slap.cache.trust.platform import this_platform
from slap.cache.trust.refused import Refused
from slap.cache.trust.signers import signers_of
from slap.cli.formats import Cell
from slap.cli.output import Style, harmless, say
from slap.model.cache import ENTRY_TYPE, Entry, SignedEntry
from slap.model.errors import SlapError
from slap.node.cache.tools import CacheTools
from slap.node.cache.words import key_name

_SHOWN = 12


def our_rows(tools: CacheTools, url: str) -> list[Sequence[Any]]:
    """A row for each entry; a cache that does not answer is told, and no reason to show nothing."""
    rows: list[Sequence[Any]] = []
    for cache in tools.settings.caches:
        try:
            rows += [row for each in tools.client.mirror(cache).entries(url) for row in _row(each, tools)]
        except SlapError as error:
            say(harmless(f"{cache.name}: {error.brief}"), Style.BAD)
    return list({str(row[-1].machine_readable()): row for row in rows}.values())


def _row(signed: SignedEntry, tools: CacheTools) -> Iterator[Sequence[Any]]:
    try:
        entry = Entry.model_validate_json(payload_of(signed, ENTRY_TYPE))
    except (Refused, ValidationError):
        return
    platform = entry.platform
    fits = platform == this_platform() and entry.root == str(tools.config.software_root)
    compatible = Cell(fits, "yes" if fits else "no", Style.GOOD if fits else Style.PLAIN)
    digest = Cell(entry.manifest.sha512, entry.manifest.sha512[:_SHOWN])
    machine = multiarch(platform.machine, platform.libc)
    yield machine, platform.os, platform.version, "", compatible, _verified(signed, tools), digest


def _verified(signed: SignedEntry, tools: CacheTools) -> Cell:
    try:
        signer = signers_of(signed, tools.trust)[0]
    except Refused as refused:
        return Cell(False, refused.reason.value, Style.BAD)
    return Cell(True, f"by {key_name(signer.key)}", Style.GOOD)
