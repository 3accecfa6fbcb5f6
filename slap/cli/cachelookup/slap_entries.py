"""What our own caches have of a release, in the columns of `cachelookup binary-sr`."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from slap.cache.trust.envelope import decode_payload
from slap.cache.trust.errors import RejectedStatement
from slap.cache.trust.platform import this_platform
from slap.cache.trust.signers import signers_of
from slap.cache.trust.slapos_entry import multiarch
from slap.cli.cache.base import ask_all
from slap.cli.formats import Cell
from slap.cli.output import Style
from slap.model.cache import ENTRY_TYPE, Entry, SignedEntry
from slap.node.cache.messages import key_name
from slap.node.cache.tools import CacheTools

_SHOWN = 12


def our_rows(tools: CacheTools, url: str) -> list[Sequence[Any]]:
    """A row for each entry; raises Unreachable when no cache answers."""
    told = ask_all(tools, lambda mirror: mirror.entries(url))
    rows = [row for entries in told.values() for each in entries for row in _row(each, tools)]
    return list({str(row[-1].machine_readable()): row for row in rows}.values())


def _row(signed: SignedEntry, tools: CacheTools) -> Iterator[Sequence[Any]]:
    try:
        entry = Entry.model_validate_json(decode_payload(signed, ENTRY_TYPE))
    except (RejectedStatement, ValidationError):
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
    except RejectedStatement as refused:
        return Cell(False, refused.reason.value, Style.BAD)
    return Cell(True, f"by {key_name(signer.key)}", Style.GOOD)
