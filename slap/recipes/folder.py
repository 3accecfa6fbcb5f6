"""slap:folder: folders of an instance, for its data."""

from pathlib import Path

from slap.recipes.common.partition import InstancePart, PartReader
from slap.system import files

_NOT_FOLDERS = ("recipe",)


class Recipe(InstancePart):
    """Every option is a folder below the partition's. Folders stay when the part goes or changes: they hold data."""

    guide = "folder"

    def read(self, options: PartReader) -> None:
        names = [name for name in self.options if name not in _NOT_FOLDERS]
        self._folders: list[Path] = [self.path(options, name, "") for name in names]
        for name, path in zip(names, self._folders, strict=True):
            self.options[name] = str(path)

    def install(self) -> list[str]:
        for path in self._folders:
            files.make_folder(path, 0o700)
        return []
