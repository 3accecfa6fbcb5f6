"""Images as people are shown them."""

from datetime import UTC, datetime
from typing import Any

from slap.cli.formats import Cell
from slap.cli.image.base import Place
from slap.model.vm.kept import KeptImage
from slap.node.cache.messages import size
from slap.node.image.service import in_use

SHOWN = 16  # digits of a digest


def names_of(place: Place, sha512: str) -> list[str]:
    return [name for name, digest in place.store.names().items() if digest == sha512]


def day(seconds: float) -> Cell:
    at = datetime.fromtimestamp(seconds, UTC)
    return Cell(at.isoformat(), f"{at:%Y-%m-%d %H:%M}")


def bytes_cell(count: int) -> Cell:
    return Cell(count, size(count))


def fields_of(place: Place, kept: KeptImage) -> dict[str, Any]:
    """All about an image."""
    return {
        "names": names_of(place, kept.sha512),
        "sha512": kept.sha512,
        "format": kept.format,
        "size": bytes_cell(kept.size),
        "virtual_size": bytes_cell(kept.virtual_size),
        "origin": kept.origin.value,
        "source": kept.source,
        "since": day(kept.at),
        "path": str(place.store.disk(kept.sha512)),
        "used_by": sorted(in_use(place.config, place.store).get(kept.sha512, ())),
    }
