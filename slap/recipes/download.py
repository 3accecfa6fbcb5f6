"""slap:download: a file from the network, checked by its digest, unpacked or as it is."""

import shutil
from pathlib import Path

from slap.recipes.common.base import OptionReader
from slap.recipes.common.part import SoftwarePart
from slap.recipes.common.source import fetch_for, name_in, read_download
from slap.system import archive


class Recipe(SoftwarePart):
    """Options: url, sha256, filename, mode, unpack, strip, max-size."""

    guide = "download"
    can_be_shared = True

    def read(self, options: OptionReader) -> None:
        self.download = read_download(options, self.base)
        self.unpack = options.flag("unpack")
        self.strip = options.number("strip", 0)
        self.filename = options.matching("filename", r"[^/\0]+", "a name without slashes", name_in(self.download.url))
        self.mode = options.mode("mode", "644")
        # What a profile refers to: the file, or the folder that it was unpacked into.
        self.options["target"] = str(self.location if self.unpack else self.location / self.filename)

    def make(self, part: Path) -> None:
        found = fetch_for(self, self.download)
        if self.unpack:
            archive.unpack(found, part, archive.Unpacking(self.strip))
        else:
            shutil.copyfile(found, part / self.filename)
            (part / self.filename).chmod(self.mode)
