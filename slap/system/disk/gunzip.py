"""A disk that travelled as a .gz."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from slap.model.errors import InvalidInput
from slap.system.archive import BrokenArchive

_PIECE = 1 << 20
_HOLE = bytes(_PIECE)


def gunzip(packed: Path, target: Path, most: int, watch: Callable[[int], None] = lambda done: None) -> None:
    """Make a new file of what is in a .gz; long runs of zeros take no room. What `watch` raises ends it.

    Raises BrokenArchive for what is none or damaged, and InvalidInput for more than `most` bytes.
    """
    done = 0
    try:
        with gzip.open(packed) as source, target.open("xb") as file:
            while piece := source.read(_PIECE):
                done += len(piece)
                if done > most:
                    raise InvalidInput(f"{packed.name} unzips to more than {most} bytes.")
                watch(done)
                if piece == _HOLE:
                    file.seek(_PIECE, 1)
                else:
                    file.write(piece)
            file.truncate(done)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BrokenArchive(f"It is no whole .gz: {error}.") from error
