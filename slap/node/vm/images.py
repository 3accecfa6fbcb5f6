"""Wait for the images of a machine, which the node fetches."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from slap.model.errors import CommandFailed
from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ImageState, ReadyImage, read_state, state_file
from slap.system import files
from slap.system.clock import Clock

_PAUSE = 0.2  # seconds between two looks
_MIB = 1 << 20


class Images:
    """The image store of this computer, as partitions see it."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock

    def find(self, entry: ImageEntry) -> ImageState:
        """The state of an image; one without a state counts as being fetched."""
        try:
            return read_state(files.read_or(state_file(self._root, entry), '{"state": "fetching"}'))
        except ValidationError as error:
            return FailedImage(message=f"Its state cannot be read: {error}")

    def wait(self, wanted: Callable[[], Iterable[ImageEntry]], tell: Callable[[str], None]) -> None:
        """Wait until all images are there; `wanted` may return others meanwhile.

        Raises CommandFailed for one that cannot be had.
        """
        while missing := [
            (entry, state) for entry in wanted() if not isinstance(state := self.find(entry), ReadyImage)
        ]:
            for entry, state in missing:
                if isinstance(state, FailedImage):
                    raise CommandFailed(f"Image {entry} cannot be had.", state.message)
            tell(", ".join(_progress(entry, state) for entry, state in missing))
            self._clock.sleep(_PAUSE)

    def ready(self, entry: ImageEntry) -> ReadyImage:
        state = self.find(entry)
        if not isinstance(state, ReadyImage):
            raise CommandFailed(f"Image {entry} is not there any more.", resolution="It is fetched again; wait for it.")
        return state


def _progress(entry: ImageEntry, state: ImageState) -> str:
    if isinstance(state, FetchingImage) and state.size:
        return f"image {entry}: {100 * state.done // state.size}% of {max(1, state.size // _MIB)} MiB"
    return f"image {entry}: waiting for the node"
